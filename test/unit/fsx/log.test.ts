/** Logs in the classic exerciser's form. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_LAYOUT, DEFAULT_MIX, logText, parseLog, runFsx, type Operation } from '../../../dist/fsx/index.js';

const CLASSIC = `# a comment, as a person may add one
write 0x1000 0x200 0x0 *
skip read 0x0 0x0 0x1200
mapwrite 0x3000 0x17 0x1200 close_open
truncate 0x0 0x2000 0x3017
fallocate 0x4000 0x1000 0x2000 keep_size
copy_range 0x0 0x800 0x1000 0x2000
punch_hole 4096 0x1000 020000 keep_size close_open
fsync 0x0 0x0 0x0
`;

describe('fsx log', () => {
  it("reads the classic exerciser's", () => {
    const { ours, operations } = parseLog('x', CLASSIC);
    expect(ours).toBe(false);
    expect(operations.map(({ name }) => name)).toEqual(['write', 'read', 'mapwrite', 'truncate', 'fallocate', 'copy_range', 'punch_hole', 'fsync']);
    expect(operations[0]).toMatchObject({ offset: 0x1000, length: 0x200, size: 0, skipped: false, closeOpen: false });
    expect(operations[1]).toMatchObject({ skipped: true });
    expect(operations[2]).toMatchObject({ closeOpen: true, keepSize: false });
    expect(operations[5]).toMatchObject({ offset: 0, length: 0x800, dest: 0x1000, size: 0x2000 });
    expect(operations[6]).toMatchObject({ offset: 4096, size: 0o20000, keepSize: true, closeOpen: true });
  });

  it('carries out what it read, sizes as the log has them', async () => {
    const seen: Operation[] = [];
    const { failure } = await runFsx({ layout: DEFAULT_LAYOUT, mix: DEFAULT_MIX, operations: Infinity, log: parseLog('x', CLASSIC).operations, onOperation: (one) => seen.push(one) });
    expect(failure).toBeNull();
    expect(seen.filter(({ skipped }) => skipped).map(({ name }) => name)).toEqual(['read']);
  });

  it('what is written reads the same, and a classic reader sees only lines that it knows', async () => {
    const layout = { ...DEFAULT_LAYOUT, fs: 'xfs', processes: 3, files: 2, fileBytes: 0x20000 } as const;
    const operations: Operation[] = [];
    await runFsx({ layout, mix: { ...DEFAULT_MIX, accessor: 'mixed', besideEvery: 8 }, operations: 2000, onOperation: (one) => operations.push(one) });
    const text = logText(layout, operations);
    const read = parseLog('x', text);
    expect(read.layout).toEqual(layout);
    expect(read.ours).toBe(true);
    expect(read.operations.findIndex((one, i) => JSON.stringify(sorted(one)) !== JSON.stringify(sorted(operations[i])))).toBe(-1);
    expect(read.operations).toHaveLength(operations.length);
    const known = /^(skip )?(read|write|mapread|mapwrite|truncate|fallocate|punch_hole|zero_range|collapse_range|insert_range|(clone|dedupe|copy)_range 0x[0-9a-f]+|fsync)( 0x[0-9a-f]+){3}( keep_size)?( close_open)?( unshare)?$/;
    for (const line of text.split('\n')) expect(line === '' || line.startsWith('#') || known.test(line), line).toBe(true);
  });

  for (const [text, where, what] of [
    ['write 0x0 0x1 0x0\nwrit 0x0 0x1 0x0\n', 2, "unknown operation 'writ' (did you mean write?)"],
    ['write 0x0 0x1\n', 1, 'write has 3 numbers, here are 2'],
    ['clone_range 0x0 0x1 0x2\n', 1, 'clone_range has 4 numbers, here are 3'],
    ['write 0x0 zz 0x0\n', 1, "'zz' is not a number"],
    ['write 0x0 -1 0x0\n', 1, "'-1' is not a number"],
    ['write 0x0 0x1 0x0 keepsize\n', 1, "unknown flag 'keepsize' (did you mean keep_size?)"],
    ['write 0x0 0x1 0x0\nread 0x', 2, 'the last line is cut: it has no end'],
    ['#! daxmirror-fsx 2 fs=ext4\n', 1, 'a log of version 2; this reads version 1'],
    ['#! daxmirror-fsx 1 fs=ext5\n', 1, "'fs=ext5': unknown 'ext5' (did you mean ext4?); known: ext4, xfs, xfsn"],
    ['#! daxmirror-fsx 1 flen=0x1000\nwrite 0xfff 0x2 0x0\n', 2, 'write reaches beyond the largest file, 0x1000 bytes'],
    ['#! daxmirror-fsx 1 processes=2\n#! process=2\n', 2, "'process=2': not a number below 2"],
    ['#+ write 0x0 0x1 0x0\n', 1, "unknown operation 'write'"],
    ['skip\n', 1, 'no operation'],
    ['write 0x0 0x1 0x0\n#! beside=0x0,0x1,cpu,0,7\n', 3, 'a read beside an operation, and no operation follows'],
  ] as const) {
    it(`refuses with the place: ${what}`, () => {
      expect(() => parseLog('bad.ops', text)).toThrow(`bad.ops:${where}: ${what}`);
    });
  }
});

function sorted(operation: Operation | undefined): readonly unknown[] {
  return Object.entries(operation ?? {}).map(([key, value]) => [key, value !== null && typeof value === 'object' ? Object.entries(value as object).toSorted() : value]).toSorted();
}
