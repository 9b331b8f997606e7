/** Logs and options of the classic exerciser. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LAYOUT, LogError, logText, parseLog, runFsx, type Operation } from '../../../dist/fsx/index.js';
import { daxmirror, temporaryFolder } from '../../support/cli.ts';

const folder = temporaryFolder();

describe('fsx: logs of the classic exerciser', () => {
  it('everything that its --record-ops writes is read', () => {
    const text = [
      'skip fallocate 0x327b23c6 0xfe58 0x0', 'skip exchange_range 0x643c9869 0x1000 0x2f0 0x0 close_open', 'truncate 0x0 0x3000 0x0', 'write_dontcache 0x10 0x100 0x3000', 'read_dontcache 0x0 0x3000 0x3000 *',
      'write_atomic 0x1000 0x1000 0x3000', 'fallocate 0x2000 0x3000 0x3000 keep_size close_open unshare *', 'exchange_range 0x0 0x1000 0x1000 0x3000', 'dedupe_range 0x0 0x1000 0x2000 0x3000', 'fsync 0x0 0x0 0x3000', '',
    ].join('\n');
    const { operations, ours } = parseLog('real.ops', text);
    expect(ours).toBe(false);
    expect(operations.map(({ name }) => name)).toEqual(['fallocate', 'exchange_range', 'truncate', 'write', 'read', 'write', 'fallocate', 'exchange_range', 'dedupe_range', 'fsync']);
    expect(operations[6]).toMatchObject({ keepSize: true, closeOpen: true, unshare: true });
    const again = parseLog('again.ops', logText(DEFAULT_LAYOUT, operations)).operations;
    expect(again.map((one) => ({ ...one, by: 'modern' }))).toEqual(operations);
  });

  it('one whose beginning was overwritten is fitted to the file, as it is there', async () => {
    const { operations: log } = parseLog('tail.ops', 'read 0x5000 0x100 0x8000\nwrite 0x100 0x2f00 0x8000\nmapread 0x5000 0x200 0x8000\ncollapse_range 0x5000 0x1000 0x8000\n');
    const seen: Operation[] = [];
    const { skipped, passed } = await runFsx({ log, trim: true, onOperation: (operation) => seen.push(operation) });
    expect(passed).toBe(true);
    // The file is empty at first; then 0x3000 bytes: 0x5000 is 0x2000 of it, and of the 0x2fff that may be collapsed 0x2001.
    expect(seen.map(({ offset, length, skipped: over }) => [offset, length, over])).toEqual([[0, 0, true], [0x100, 0x2f00, false], [0x2000, 0x200, false], [0x2000, 0, true]]);
    expect(skipped).toBe(2);
  });

  it('numbers beyond the largest file are let pass where the operation was passed over, and nowhere else', () => {
    expect(() => parseLog('x.ops', 'skip read 0x7fffffff 0x1 0x0\n')).not.toThrow();
    expect(() => parseLog('x.ops', '\nread 0x7fffffff 0x1 0x0\n')).toThrow(LogError);
    expect(() => parseLog('x.ops', '\nread 0x7fffffff 0x1 0x0\n')).toThrow(/^x\.ops:2:6: 0x7fffffff is more than 0x4000000$/);
  });
});

describe('fsx: options of the classic exerciser', () => {
  const run = (...args: string[]): Operation[] => {
    const file = path.join(folder, 'run.ops');
    expect(daxmirror(['fsx', '-N', '60', '--record-ops', file, '-q', ...args])).toEqual({ code: 0, stdout: '', stderr: '' });
    return [...parseLog(file, readFileSync(file, 'utf8')).operations];
  };

  it('-L: files are whole from the beginning and keep their size', () => {
    const operations = run('-L', '-l', '32k');
    expect(operations[0]).toMatchObject({ name: 'truncate', length: 0x8000 });
    expect(new Set(operations.slice(1).map(({ size }) => size))).toEqual(new Set([0x8000]));
  });

  it('-x: blocks for all of it first', () => {
    expect(run('-x')[0]).toMatchObject({ name: 'fallocate', length: 0x40000, keepSize: true });
  });

  it('-y: what stores is followed by fsync', () => {
    const names = run('-y').map(({ name }) => name);
    for (const [i, name] of names.entries()) if ((name === 'write' || name === 'mapwrite') && i + 1 < names.length) expect(names[i + 1]).toBe('fsync');
    expect(names).toContain('write');
  });

  it('-s 1: truncates no larger than other operations', () => {
    expect(Math.max(...run('-s', '1', '-o', '512').filter(({ name }) => name === 'truncate').map(({ length }) => length))).toBeLessThanOrEqual(512);
  });

  it('-g: stores one character, and all is well', () => {
    expect(daxmirror(['fsx', '-N', '500', '-g', 'x', '-X', '-q'])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('-D, -m: print operations as they begin', () => {
    const { stderr } = daxmirror(['fsx', '-N', '300', '-q', '-D', '290']);
    expect(stderr.split('\n').slice(0, -1).map((line) => Number(line.split(' ')[0]))).toEqual([290, 291, 292, 293, 294, 295, 296, 297, 298, 299, 300]);
    expect(daxmirror(['fsx', '-N', '5', '-q', '-m', 'here:']).stderr).toMatch(/--monitor/);
  });

  it.each(['-Z', '-A', '-U', '-k', '-a', '-T', '-0'])('%s means nothing here: one line says why', (option) => {
    const { code, stdout, stderr } = daxmirror(['fsx', '-N', '1', option]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(new RegExp(`^daxmirror: fsx ${option}: [^\\n]+\\n$`));
  });
});

describe('runFsx, of the library', () => {
  it('unknown options and values out of bounds are named', async () => {
    await expect(runFsx({ opperations: 1 } as object)).rejects.toThrow(/unknown option 'opperations'/);
    await expect(runFsx({ layout: { fs: 'ext3' as 'ext4' } })).rejects.toThrow(/layout\.fs: unknown 'ext3' \(did you mean ext4\?\)/);
    await expect(runFsx({ mix: { operationBytes: 0 } })).rejects.toThrow(/mix\.operationBytes 0 is not a whole number from 1/);
    await expect(runFsx({ operations: Infinity })).rejects.toThrow(/no pause/);
  });

  it('a bug switch is an answer, with the fewest operations that show it', async () => {
    const { passed, failure } = await runFsx({ operations: 5000, bugs: ['stale-pfn'], mix: { seed: 3n } });
    expect(passed).toBe(false);
    expect(failure?.shrunk.length).toBeLessThan(12);
  });
});
