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
    const layout = { ...DEFAULT_LAYOUT, fs: 'xfs', profile: 'v6.12', processes: 3, files: 2, fileBytes: 0x20000 } as const;
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
    ['write 0x0 0x1 0x0\nwrit 0x0 0x1 0x0\n', '2:1', "unknown operation 'writ' (did you mean write?)"],
    ['write 0x0 0x1\n', '1:1', 'write has 3 numbers, here are 2'],
    ['clone_range 0x0 0x1 0x2\n', '1:1', 'clone_range has 4 numbers, here are 3'],
    ['  write 0x0 zz 0x0\n', '1:13', "'zz' is not a number"],
    ['write 0x0 -1 0x0\n', '1:11', "'-1' is not a number"],
    ['write 0x0 0x1 0x0 keepsize\n', '1:19', "unknown flag 'keepsize' (did you mean keep_size?)"],
    ['write 0x0 0x1 0x0\nread 0x', '2:8', 'the last line is cut: it has no end'],
    ['#! daxmirror-fsx 2 fs=ext4\n', '1:18', 'a log of version 2; this reads version 1'],
    ['#! daxmirror-fsx 1 fs=ext5\n', '1:20', "'fs=ext5': unknown 'ext5' (did you mean ext4?); known: ext4, xfs, xfsn"],
    ['#! daxmirror-fsx 1 flen=0x1000\nwrite 0xfff 0x2 0x0\n', '2:1', 'write reaches beyond the largest file, 0x1000 bytes'],
    ['#! daxmirror-fsx 1 processes=2\n#! process=2\n', '2:4', "'process=2': not a number below 2"],
    ['#+ write 0x0 0x1 0x0\n', '1:4', "unknown operation 'write'"],
    ['skip\n', '1:1', 'no operation'],
    ['write 0x0 0x1 0x0\n#! beside=0x0,0x1,cpu,0,7\n', '3:1', 'a read beside an operation, and no operation follows'],
  ] as const) {
    it(`refuses with the place: ${what}`, () => {
      expect(() => parseLog('bad.ops', text)).toThrow(`bad.ops:${where}: ${what}`);
    });
  }
});

describe('the dump of a classic exerciser', () => {
  // As a mail on linux-xfs quotes one (the entries; the operations around are left out).
  const DUMP = `QA output created by 521
dowrite: write: Input/output error
> > +LOG DUMP (14 total operations):
> > +1(  1 mod 256): TRUNCATE UP\tfrom 0x0 to 0x1d000
> > +2(  2 mod 256): DEDUPE 0x19000 thru 0x1bfff\t(0x3000 bytes) to 0x13000 thru 0x15fff
> > +3(  3 mod 256): SKIPPED (no operation)
> > +4(  4 mod 256): PUNCH    0x5167 thru 0x12d1c\t(0xdbb6 bytes)
> > +5(  5 mod 256): WRITE    0x39000 thru 0x3dfff\t(0x5000 bytes) HOLE\t***WWWW
> > +\t\tCLOSE/OPEN
> > +6(  6 mod 256): MAPREAD  0x15000 thru 0x1ee44\t(0x9e45 bytes)
> > +7(  7 mod 256): COPY 0x2a000 thru 0x35fff\t(0xc000 bytes) to 0x12000 thru 0x1dfff
> > +8(  8 mod 256): FALLOC   0x3ff4c thru 0x44867\t(0x491b bytes) PAST_EOF
> > +9(  9 mod 256): INSERT 0x2000 thru 0x2fff\t(0x1000 bytes)
> > +10( 10 mod 256): COLLAPSE 0x4000 thru 0x5fff\t(0x2000 bytes)
> > +11( 11 mod 256): ZERO     0x26000 thru 0x2bdfc\t(0x5dfd bytes)
> > +12( 12 mod 256): TRUNCATE DOWN\tfrom 0x3d000 to 0x1c000
> > +13( 13 mod 256): XCHG 0x1000 thru 0x1fff\t(0x1000 bytes) to 0x8000 thru 0x8fff
> > +14( 14 mod 256): FSYNC
> > +Log of operations saved to "foo.fsxops"; replay with --replay-ops
`;

  it('is read as a log is, with the sizes that follow', () => {
    const { ours, notModelled, operations } = parseLog('mail', DUMP);
    expect(ours).toBe(false);
    expect(notModelled).toBe('mail:17:1');
    expect(operations.map(({ name, size }) => `${name} ${size.toString(16)}`)).toEqual([
      'truncate 0', 'dedupe_range 1d000', 'read 1d000', 'punch_hole 1d000', 'write 1d000', 'mapread 3e000', 'copy_range 3e000', 'fallocate 3e000', 'insert_range 3e000', 'collapse_range 3f000',
      'zero_range 3d000', 'truncate 3d000', 'exchange_range 1c000', 'fsync 1c000',
    ]);
    expect(operations[0]).toMatchObject({ length: 0x1d000 });
    expect(operations[1]).toMatchObject({ offset: 0x19000, length: 0x3000, dest: 0x13000 });
    expect(operations[2]).toMatchObject({ skipped: true });
    expect(operations[4]).toMatchObject({ offset: 0x39000, length: 0x5000, closeOpen: true });
    expect(operations[7]).toMatchObject({ offset: 0x3ff4c, length: 0x491b, keepSize: true });
  });

  it('replays, on XFS', async () => {
    const log = parseLog('mail', DUMP);
    const { failure, operations, skipped } = await runFsx({ layout: { ...log.layout, fs: 'xfs', profile: 'v6.12' }, log: log.operations, trim: true });
    expect(failure).toBeNull();
    expect({ operations, skipped }).toEqual({ operations: 14, skipped: 2 });
  });

  it("is read in the older form of fsx-linux, too", () => {
    const { operations } = parseLog('x', 'LOG DUMP (2 total operations):\n1: 1516719230.853913 TRUNCATE UP        from 0x0 to 0x13e76\n2: 1516719230.856037 WRITE    0x17098 thru 0x26857 (0xf7c0 bytes) HOLE  ***WWWW\n');
    expect(operations.map(({ name, offset, length }) => [name, offset, length])).toEqual([['truncate', 0, 0x13e76], ['write', 0x17098, 0xf7c0]]);
  });

  it.each([
    [DUMP.replace(/.*SKIPPED.*\n/, ''), 'x:6:6: operation 4 of the dump follows 2: those between are missing'],
    [DUMP.replace(/.*FSYNC\n/, ''), 'x:17:1: the dump is cut: it ends with operation 13 of 14'],
    [DUMP.replace('PUNCH ', 'PAUNCH'), "x:7:22: 'PAUNCH   0x5167 thru 0x12d1c\t(0xdbb6 bytes)' is no entry of a dump"],
    [DUMP.replace(' to 0x13000 thru 0x15fff', ''), "x:5:22: 'DEDUPE 0x19000 thru 0x1bfff\t(0x3000 bytes)' is no entry of a dump"],
  ])('is refused with the place where it was cut or edited', (text, what) => {
    expect(() => parseLog('x', text)).toThrow(what);
  });
});

function sorted(operation: Operation | undefined): readonly unknown[] {
  return Object.entries(operation ?? {}).map(([key, value]) => [key, value !== null && typeof value === 'object' ? Object.entries(value as object).toSorted() : value]).toSorted();
}
