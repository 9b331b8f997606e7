/** `daxmirror fsx`: what it prints, its exit codes, and bad input. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { daxmirror, temporaryFolder } from '../../support/cli.ts';

const folder = temporaryFolder();

describe('daxmirror fsx', () => {
  it('runs, records, and replays what it recorded', () => {
    const file = path.join(folder, 'run.ops');
    const run = daxmirror(['fsx', '-N', '500', '-S', '7', '-l', '64k', '--accessor', 'mixed', '--record-ops', file]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/ext4 of v6\.1, 1 file up to 64 KiB, 1 process, mapped accesses by mixed, seed 7\n✓ 500 operations/);
    expect(readFileSync(file, 'utf8')).toMatch(/^#! daxmirror-fsx 1 fs=ext4 .* flen=0x10000 /);
    const again = daxmirror(['fsx', '--replay-ops', file, '--accessor', 'kvm', '--json']);
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ passed: true, operations: 500, accessor: 'kvm', layout: { fileBytes: 0x10000 } });
  });

  it('fails with exit code 1 and the log that fails, which fails again', () => {
    const { code, stdout } = daxmirror(['fsx', '--bug', 'lost-device-write']);
    expect(code).toBe(1);
    const log = /<<'END'\n(.*)END\n$/s.exec(stdout)?.[1] ?? '';
    const file = path.join(folder, 'lost.ops');
    writeFileSync(file, log);
    expect(log.split('\n').filter((line) => /^[a-z]/.test(line))).toHaveLength(1);
    expect(daxmirror(['fsx', '--bug', 'lost-device-write', '--replay-ops', file])).toMatchObject({ code: 1 });
    expect(daxmirror(['fsx', '-q', '--replay-ops', file])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('a bad log is one line with its place, exit code 2', () => {
    const file = path.join(folder, 'bad.ops');
    writeFileSync(file, 'write 0x0 0x1 0x0\nreed 0x0 0x1 0x1\n');
    expect(daxmirror(['fsx', '--replay-ops', file])).toEqual({ code: 2, stdout: '', stderr: `${file}:2:1: unknown operation 'reed' (did you mean read?)\n` });
  });

  it('unknown bugs and numbers out of bounds are refused', () => {
    for (const [args, words] of [
      [['--bug', 'stale-pnf'], /did you mean stale-pfn/], [['old.ops'], /fsx old\.ops: the files are made within .* --replay-ops old\.ops/], [['--duration', '1d'], /Not a time: 90 or 90s, 60m, 8h/],
      [['-l', '0'], /-l, --flen/], [['--processes', '17'], /from 1 to 16/], [['--ops', 'many'], /whole number/]] as const) {
      const outcome = daxmirror(['fsx', ...args]);
      expect(outcome).toMatchObject({ code: 2, stdout: '' });
      expect(outcome.stderr).toMatch(words);
      expect(outcome.stderr).toMatch(/^daxmirror: [^\n]+\n$/);
    }
  });
});

describe('daxmirror fsx and what a kernel is known for', () => {
  it('names a bug of the kernel, without which the operations do not fail', () => {
    const { code, stdout } = daxmirror(['fsx', '--profile', 'v5.2', '--accessor', '2019', '-N', '500']);
    expect(code).toBe(1);
    expect(stdout).toContain('known: this kernel does so (without its bug zero-page-special it does not)');
  });

  it('says of a field that it was read and not recorded', () => {
    const { code, stdout } = daxmirror(['fsx', '--fs', 'xfs', '--profile', 'v6.12', '--power-cut', '20', '--accessor', 'mixed']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/known: this kernel does so \(.*with profile field copiesFlushed, which is read in the source and not recorded, otherwise it does not\)/);
  });
});

describe('daxmirror fsx --power-cut', () => {
  it('says how often the power failed and what was lost', () => {
    const { code, stdout } = daxmirror(['fsx', '--power-cut', '5', '--accessor', 'mixed', '-l', '64k']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/caches volatile\n(?:.*\n)+✓ 5 power cuts, 30 images looked at: [\d,]+ cache lines and [\d,]+ changes of metadata lost, nothing of what was durable\n$/);
  });

  it('looks at every moment of a log', () => {
    const file = path.join(folder, 'moments.ops');
    writeFileSync(file, 'write 0x0 0x1000 0x0\nfsync 0x0 0x0 0x1000\n');
    expect(daxmirror(['fsx', '--power-cut', 'all', '--replay-ops', file]).stdout).toMatch(/✓ [5-9] moments, \d+ images/);
  });

  it('what fails is a string that fails again; cut or edited it is refused', () => {
    const { code, stdout } = daxmirror(['fsx', '--power-cut', '20', '--bug', 'fsync-skips-flush', '--accessor', 'kvm']);
    expect(code).toBe(1);
    const replay = / --replay (\S+)/.exec(stdout)?.[1] ?? '';
    const again = daxmirror(['fsx', '--bug', 'fsync-skips-flush', '--replay', replay]);
    expect(again.code).toBe(1);
    expect(again.stdout).toContain(replay);
    expect(daxmirror(['fsx', '-q', '--replay', replay])).toEqual({ code: 0, stdout: '', stderr: '' });
    for (const [bad, words] of [[replay.slice(0, -3), /cut at character \d+/], [replay.replace('fsync', 'read'), /was edited/], [replay.replace('f1', 'f2'), /this reads f1/]] as const) {
      const outcome = daxmirror(['fsx', '--replay', bad]);
      expect(outcome.code).toBe(2);
      expect(outcome.stderr).toMatch(words);
    }
  });

  it('options that go with nothing are refused', () => {
    for (const [args, words] of [[['--eadr'], /--power-cut N or/], [['--cut-every', '3'], /--cut-every is of --power-cut/], [['--power-cut', 'none'], /Neither a whole number/]] as const) {
      const outcome = daxmirror(['fsx', ...args]);
      expect(outcome.code).toBe(2);
      expect(outcome.stderr).toMatch(words);
    }
  });
});
