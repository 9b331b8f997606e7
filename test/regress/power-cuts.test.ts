/** Bug switches of what survives a power cut: off nothing is found, on a cut finds it, and the report says what is missing and whose store it was. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_LAYOUT, DEFAULT_MIX, logText, parseLog, runFsx, type FsxOptions, type Layout, type Mix } from '../../dist/fsx/index.js';

function options(layout: Partial<Layout>, mix: Partial<Mix>, more: Partial<FsxOptions> = {}): FsxOptions {
  return { layout: { ...DEFAULT_LAYOUT, power: 'adr', ...layout }, mix: { ...DEFAULT_MIX, cutEvery: 30, ...mix }, operations: 3000, ...more };
}

/** Few operations that show it; the power fails after the last, a read of nothing. */
describe('power cuts: what is broken is found', () => {
  for (const [bug, head, lines, says] of [
    ['fsync-skips-flush', 'fs=ext4', 'truncate 0 0x4000 0\nmapwrite 0x1000 0x100 0x4000\nfsync 0 0 0x4000', /0x1000..0x1100 of file0 is lost: stored by operation 2: mapwrite .* by modern .*made durable by operation 3: fsync[^]*missing: a flush of its cache line/],
    ['fsync-skips-flush', 'fs=ext4', '#! by=kvm\ntruncate 0 0x4000 0\nmapwrite 0x1000 0x100 0x4000\nfsync 0 0 0x4000', /stored by operation 2: mapwrite .* by kvm/],
    ['write-cached', 'fs=ext4', 'write 0 0x100 0\nfsync 0 0 0x100', /lost: stored by operation 1: write .*made durable by operation 2: fsync[^]*missing: a flush of its cache line/],
    ['commit-without-fence', 'fs=ext4', 'write 0 0x100 0\nfsync 0 0 0x100', /missing: a fence after the flush of its cache line/],
    ['new-blocks-unflushed', 'fs=xfs profile=v6.12', 'write 0 0x4000 0\ntruncate 0 0x2000 0x4000\nfsync 0 0 0x4000\ntruncate 0 0x4000 0x2000\nwrite 0x2010 0x10 0x4000\nfsync 0 0 0x4000', /0x2040..0x3000 of file0 is not zero any more: zeroed by operation 4: truncate .*made durable by operation 6/],
    ['blocks-reused-early', 'fs=xfs profile=v6.12 files=2', 'write 0 0x1000 0\nfsync 0 0 0x1000\ntruncate 0 0 0x1000\n#! file=1\nwrite 0 0x1000 0', /0x0..0x1000 of file0 is lost: stored by operation 1: write/],
    ['sync-fault-without-commit', 'fs=ext4', '#! flush=1\nmapwrite 0x1000 0x100 0', /may have 0x1100\n.*promised by operation 1: mapwrite .* flushed[^]*missing: a journal commit of the metadata/],
    ['sync-copy-unflushed', 'fs=xfs profile=lab', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\n#! flush=1\nmapwrite 0x1800 0x10 0x2000', /0x1000..0x1800 of file0 is lost: stored by operation 1: write .*made durable by operation 3: fsync[^]*missing: a flush of its cache line/],
    ['device-fault-not-dirty', 'fs=ext4', 'write 0 0x4000 0\nmapwrite 0x1000 0x100 0x4000\nfsync 0 0 0x4000', /0x1000..0x1100 of file0 is lost: .* by modern/],
    ['device-fault-not-dirty', 'fs=ext4', '#! by=2019\nwrite 0 0x4000 0\nmapwrite 0x1000 0x100 0x4000\nfsync 0 0 0x4000', /0x1000..0x1100 of file0 is lost: .* by 2019/],
    ['msync-off-by-one', 'fs=ext4', 'mapwrite 0 0x2000 0\n#+ msync 0 0x2000 0x2000', /0x1000..0x2000 of file0 is lost: .*made durable by operation 2: msync/],
    ['flush-first-page', 'fs=ext4 flen=0x200000', 'fallocate 0 0x200000 0\nmapwrite 0x1ff000 0x1000 0x200000\nfsync 0 0 0x200000', /0x1ff000..0x200000 of file0 is lost: [^]*missing: a flush of its cache line/],
  ] as const) {
    it(`${bug}: ${lines.replaceAll('\n', '; ')}`, async () => {
      const { layout, operations: log } = parseLog('by hand', `#! daxmirror-fsx 1 ${head} power=adr\n${lines}\n#! cut=0,1\n#! file=0\nread 0 0 0\n`);
      const run = { layout, mix: DEFAULT_MIX, log, operations: Infinity };
      const { failure } = await runFsx({ ...run, bugs: [bug] });
      expect(failure?.kind).toBe('power cut');
      expect(failure?.what).toMatch(says);
      expect((await runFsx(run)).failure).toBeNull();
    });
  }

  it('at random, cut down, and replayed from its log', async () => {
    const broken = options({}, { accessor: 'cpu' }, { bugs: ['fsync-skips-flush'] });
    const { failure } = await runFsx(broken);
    const { shrunk = [], kind, shrunkWhat } = failure ?? {};
    expect(kind).toBe('power cut');
    expect(shrunk.length).toBeLessThanOrEqual(4);
    const { layout, operations: log } = parseLog('shrunk.ops', logText(broken.layout, shrunk));
    expect((await runFsx({ ...broken, layout, log, operations: Infinity })).failure).toMatchObject({ kind, what: shrunkWhat });
    expect((await runFsx({ ...broken, layout, bugs: [], log, operations: Infinity })).failure).toBeNull();
  });

  for (const [what, lines, says] of [
    ['write(2)', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\nwrite 0x1800 0x10 0x2000\nfsync 0 0 0x2000', /0x1000..0x1800 of file0 is lost: stored by operation 1: write .*made durable by operation 5: fsync/],
    ['a fault', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\n#+ map 0 0 0x2000\nmapwrite 0x1800 0x10 0x2000', /0x1000..0x2000 of file0 is lost: stored by operation 1: write .*made durable by operation 3: fsync/],
    ['fallocate', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\nfallocate 0x1000 0x1000 0x2000 unshare\nfsync 0 0 0x2000', /0x1000..0x2000 of file0 is lost: stored by operation 1: write .*made durable by operation 5: fsync/],
  ] as const) {
    it(`what ${what} copies of a shared block is not flushed: known of these kernels, and told by the profile's field`, async () => {
      const { layout, operations: log } = parseLog('by hand', `#! daxmirror-fsx 1 fs=xfs profile=v6.12 power=adr\n${lines}\n#! cut=0,1\nread 0 0 0\n`);
      const { failure } = await runFsx({ layout, mix: DEFAULT_MIX, log, operations: Infinity });
      expect(failure?.what).toMatch(says);
      expect(failure?.fields).toContain('copiesFlushed');
    });
  }

  it('with eADR a flush that is left out does no harm', async () => {
    const { failure, cuts } = await runFsx(options({ power: 'eadr' }, { accessor: 'mixed' }, { bugs: ['fsync-skips-flush'], operations: 700 }));
    expect(failure).toBeNull();
    expect(cuts?.recordsLost).toBeGreaterThan(100);
    expect(cuts?.linesLost).toBe(0);
  });
});

describe('power cuts: what is right stays right', () => {
  for (const [layout, accessor] of [
    [{}, 'cpu'], [{ processes: 2, files: 2 }, 'mixed'], [{ fs: 'xfs', profile: 'lab' }, 'mixed'], [{ fs: 'xfsn', page: '4K' }, 'kvm'], [{ everyPoint: true, fileBytes: 65536 }, 'mixed']
  ] as const) {
    it(`${JSON.stringify(layout)}, accesses by ${accessor}`, async () => {
      const everyPoint = 'everyPoint' in layout;
      const { failure, cuts } = await runFsx(options(layout, { accessor, cutEvery: everyPoint ? 0 : 30 }, { operations: everyPoint ? 150 : 700 }));
      expect(failure).toBeNull();
      expect(everyPoint ? cuts?.points : cuts?.cuts).toBeGreaterThan(12);
      expect(cuts?.recordsLost).toBeGreaterThan(100);
    });
  }

  for (const [what, lines] of [
    ['a page cut off that shared its block', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\ntruncate 0 0x1000 0x2000\nwrite 0x10 0x10 0x1000'],
    ['the same, of a block shared since before another cut', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\n#! cut=9999,1\nfsync 0 0 0x2000\ntruncate 0 0x1000 0x2000\nwrite 0x10 0x10 0x1000'],
    ['the same, of a block shared by dedupe', 'write 0 0x1000 0\ncopy_range 0 0x1000 0x1000 0x1000\ndedupe_range 0 0x1000 0x1000 0x2000\nfsync 0 0 0x2000\ntruncate 0 0x1000 0x2000\nwrite 0x10 0x10 0x1000'],
    ['a page that has a block of its own again', 'write 0 0x1000 0\nclone_range 0 0x1000 0x1000 0x1000\nfsync 0 0 0x2000\nfallocate 0x1000 0x1000 0x2000 unshare\nwrite 0x10 0x10 0x2000'],
    ['the beginning of a range to zero, of a block that goes from the end of the range,', 'write 0 0x2000 0\nclone_range 0x1000 0x1000 0 0x2000\nfsync 0 0 0x2000\nzero_range 0xd5a 0x12a6 0x2000 keep_size'],
    ['the beginning of a hole, of a block that goes from the end of it,', 'write 0 0x2000 0\nclone_range 0x1000 0x1000 0 0x2000\nfsync 0 0 0x2000\npunch_hole 0xd5a 0x12a6 0x2000'],
    ['the end of a hole, of a block that goes from the beginning of it,', 'write 0 0x2000 0\nclone_range 0 0x1000 0x1000 0x2000\nfsync 0 0 0x2000\npunch_hole 0 0x1d5a 0x2000'],
    ['a page cut in two, of a block that its neighbour had too,', 'write 0 0x2000 0\nclone_range 0x1000 0x1000 0 0x2000\nfsync 0 0 0x2000\ntruncate 0 0xd5a 0x2000\nwrite 0x10 0x10 0xd5a'],
    ['a range that collapses, of a block that the page before it has,', 'write 0 0x3000 0\nclone_range 0x1000 0x1000 0 0x3000\nfsync 0 0 0x3000\ncollapse_range 0x1000 0x1000 0x3000\nwrite 0x15 0x10 0x2000'],
    ['what no dedupe shares, as it differs', 'write 0 0x2000 0\ndedupe_range 0 0x1000 0x1000 0x2000\nfsync 0 0 0x2000'],
  ] as const) {
    it(`${what} comes back as it was, or with what was stored to the block since`, async () => {
      const { layout, operations: log } = parseLog('by hand', `#! daxmirror-fsx 1 fs=xfs profile=lab power=adr\n${lines}\n`);
      const { failure, cuts, skipped } = await runFsx({ layout: { ...layout, everyPoint: true }, mix: DEFAULT_MIX, log, operations: Infinity });
      expect(failure).toBeNull();
      expect(skipped).toBe(0);
      expect(cuts?.points).toBeGreaterThan(5);
    });
  }

  for (const [what, lines] of [
    ['a page that is zeroed into a block set aside for a copy, as its file grows, is written back from there', [
      'write 0x5427 0x5c3 0', 'fallocate 0x2c3b5 0xc38 0', 'clone_range 0x7000 0x1000 0x3000 0', 'clone_range 0x3000 0x1000 0x8000 0', 'insert_range 0x2000 0x1000 0', 'mapwrite 0x3d4aa 0xf8a 0',
      'zero_range 0x9759 0xa58 0', '#! by=2019', 'mapwrite 0x3e313 0x9cf 0', '#! by=cpu', 'fsync 0 0 0', '#! cut=9999,1', 'read 0 0 0',
    ]],
    ['a page that unshare moves is written back before, and again from where it is then', [
      'write 0xb2f9 0xd07 0', 'clone_range 0xb000 0x1000 0x3000 0', '#! by=kvm', 'mapwrite 0xa1c0 0x72e 0', 'zero_range 0x311f 0x3c3d 0 keep_size', 'fallocate 0x7a57 0x34fe 0 keep_size unshare',
      'mapwrite 0xab75 0x60 0', 'fsync 0 0 0', '#! cut=9999,1', 'read 0 0 0',
    ]],
  ] as const) {
    it(what, async () => {
      const { layout, operations: log } = parseLog('by hand', `#! daxmirror-fsx 1 fs=xfs profile=lab power=adr\n${lines.join('\n')}\n`);
      const { failure, cuts, skipped } = await runFsx({ layout, mix: DEFAULT_MIX, log, operations: Infinity });
      expect(failure).toBeNull();
      expect(skipped).toBe(1); // the read of nothing
      expect(cuts?.cuts).toBe(1);
    });
  }

  it('dedupe and unshare are among the operations, and are carried out', async () => {
    const seen: string[] = [];
    const { failure } = await runFsx(options({ fs: 'xfs', profile: 'lab' }, { accessor: 'mixed', without: ['write', 'mapwrite', 'fork'] }, { operations: 300, onOperation: ({ name, unshare, skipped }) => !skipped && seen.push(unshare ? 'unshare' : name) }));
    expect(failure).toBeNull();
    expect(seen).toContain('dedupe_range');
    expect(seen).toContain('unshare');
  });
});
