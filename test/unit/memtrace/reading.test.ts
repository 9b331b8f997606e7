/** Reading traces: every format to the same accesses, over any cuts of the bytes; what is wrong is told by line. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Replay, TraceError, formatOf, type ByteSource, type ReplayOptions } from '../../../dist/memtrace/index.js';

/** The bytes in pieces: each read gives the next one. */
function sourceOf(bytes: Uint8Array, pieces: readonly number[] = []): ByteSource {
  let at = 0;
  let next = 0;
  return {
    read: (target) => {
      const n = Math.min(target.length, bytes.length - at, pieces[next++ % Math.max(1, pieces.length)] ?? Infinity);
      target.set(bytes.subarray(at, at + n));
      at += n;
      return n;
    },
  };
}
const text = (lines: string): Uint8Array => new TextEncoder().encode(lines);

/** Replays at 4K without TLBs: every access is a walk, so counts are those of the trace. */
async function replayed(bytes: Uint8Array, options: ReplayOptions & { pieces?: readonly number[] } = {}): Promise<{ accesses: number; counts: Replay['counts']; error: TraceError | null; lookups: object; faults: number }> {
  const { pieces, ...rest } = options;
  using replay = await Replay.create(sourceOf(bytes, pieces), { pages: ['4K'], cpu: 'none', ...rest });
  let error: TraceError | null = null;
  try {
    while (await replay.step());
  } catch (thrown) {
    if (!(thrown instanceof TraceError)) throw thrown;
    error = thrown;
  }
  const { costs, faults } = replay.results[0]!;
  return { accesses: replay.accesses, counts: { ...replay.counts }, error, lookups: { ...costs.lookups }, faults: faults['4K'] };
}

const LACKEY = '==12== Lackey, an example Valgrind tool\n==12== \nI  04001090,3\n L 1ffeffe7e0,8\n S 04223f98,8\n M 04223f98,4\nSB 04001090\n';

function champsim(records: readonly { ip: bigint; branch?: number; writes?: readonly bigint[]; reads?: readonly bigint[] }[]): Uint8Array {
  const bytes = new Uint8Array(records.length * 64);
  const view = new DataView(bytes.buffer);
  for (const [i, { ip, branch = 0, writes = [], reads = [] }] of records.entries()) {
    view.setBigUint64(i * 64, ip, true);
    bytes[i * 64 + 8] = branch;
    for (const [w, addr] of writes.entries()) view.setBigUint64(i * 64 + 16 + w * 8, addr, true);
    for (const [r, addr] of reads.entries()) view.setBigUint64(i * 64 + 32 + r * 8, addr, true);
  }
  return bytes;
}

describe('formats', () => {
  test('lackey: fetches, loads, stores, modifies as stores; valgrind\'s own lines are passed over', async () => {
    const { counts, lookups, error } = await replayed(text(LACKEY));
    expect(error).toBeNull();
    expect(counts).toMatchObject({ lines: 7, skipped: 3, fetches: 1, loads: 1, stores: 1, modifies: 1 });
    expect(lookups).toEqual({ fetch: 1, load: 1, store: 2 });
  });

  test('plain: with and without 0x, commas, tabs, sizes, comments, CRLF, no newline at the end', async () => {
    const { counts, lookups, error } = await replayed(text('# mine\r\n0x7fff0000 r\r\n7fff1000\tW\n\n  00000000000000007fff2000, x, 16\n7fff3ff8 w 16'));
    expect(error).toBeNull();
    expect(counts).toMatchObject({ lines: 6, skipped: 2, fetches: 1, loads: 1, stores: 2 });
    expect(lookups).toEqual({ fetch: 1, load: 1, store: 3 }); // the last one touches two pages
  });

  test('ChampSim: ip, then reads, then writes', async () => {
    const { counts, lookups, error } = await replayed(champsim([{ ip: 0x400000n, reads: [0x10000000n, 0x10001000n] }, { ip: 0x400004n, branch: 1, writes: [0x10001008n] }]));
    expect(error).toBeNull();
    expect(counts).toMatchObject({ lines: 2, fetches: 2, loads: 2, stores: 1, bytes: 128 });
    expect(lookups).toEqual({ fetch: 2, load: 2, store: 1 });
  });

  test('are told from the first bytes', () => {
    expect([LACKEY, '# x\n1000000 r\n', '', '\u0000'].map((head) => formatOf(text(head)))).toEqual(['lackey', 'plain', 'plain', 'champsim']);
    expect(formatOf(champsim([{ ip: 0x400000n }]))).toBe('champsim');
  });

  test('without fetches, fetches are read and left out', async () => {
    const { counts, lookups } = await replayed(text(LACKEY), { withoutFetches: true });
    expect(counts.fetches).toBe(1);
    expect(lookups).toEqual({ fetch: 0, load: 1, store: 2 });
  });
});

test('how the bytes are cut does not matter, in any format', async () => {
  const accesses = fc.array(fc.record({ page: fc.nat(40), kind: fc.constantFrom('r', 'w', 'x'), within: fc.nat(4095), size: fc.integer({ min: 1, max: 64 }) }), { minLength: 1, maxLength: 60 });
  await fc.assert(fc.asyncProperty(accesses, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }), fc.boolean(), async (all, pieces, lackey) => {
    const letter = { r: ' L ', w: ' S ', x: 'I  ' } as const;
    const lines = all.map(({ page, kind, within, size }) => {
      const addr = (0x1000000 + page * 4096 + within).toString(16);
      return lackey ? `${letter[kind as 'r']}${addr},${size}\n` : `${addr} ${kind} ${size}\n`;
    });
    const { lookups, accesses: done, error, faults } = await replayed(text(lines.join('')), { pieces, format: lackey ? 'lackey' : 'plain' });
    expect(error).toBeNull();
    const crossing = (kind: string): number => all.filter((one) => one.kind === kind).reduce((sum, { within, size }) => sum + (within + size > 4096 ? 2 : 1), 0);
    expect(lookups).toEqual({ fetch: crossing('x'), load: crossing('r'), store: crossing('w') });
    expect(done).toBe(crossing('x') + crossing('r') + crossing('w'));
    expect(faults).toBe(new Set(all.flatMap(({ page, within, size }) => (within + size > 4096 ? [page, page + 1] : [page]))).size);
  }), { numRuns: 25 });
}, 30_000);

describe('what is wrong', () => {
  test.each([
    [' L 1ffeffe7e0,8\nhello\n', 2, 1, /'hello' is not a line of lackey/],
    [' L 1ffeffe7e0,8\n L 1ffe', 2, 8, /truncated\?$/],
    [' L 1ffeffe7e0,8\n L 1ffeffe7e0,0\n', 2, 15, /size 0 is not 1 to 4096 bytes/],
    [' L 1ffeffe7e0,8\n L 8000000000000000,8\n', 2, 4, /0x8000000000000000 is not canonical/],
    [' L 1ffeffe7e0,8\n L ffff800000000000,8\n', 2, 4, /the kernel's/],
    [' L 1ffeffe7e0,8\n L 100000000000000,8\n', 2, 4, /0x100000000000000 is not canonical/],
    [' L 1ffeffe7e0,8\n L 800000000000,8\n', 2, 4, /five levels of page tables \(--la57\)/],
    [' L 1ffeffe7e0,8\n L 10,8\n', 2, 4, /below 0x10000/],
    [' L 1ffeffe7e0,8\n L 11112222333344445,8\n', 2, 4, /more than 64 bits/],
    ['1000000 r\n1000000 q\n', 2, 9, /'1000000 q' is not an access/],
    ['1000000 r\n1000000 r junk\n', 2, 11, /is not an access/],
    ['1000000 r\n10000\u0001 r\n', 2, 6, /byte 0x01 where text is expected/],
    ['', 0, 0, /empty: not one access/],
  ] as const)('%j', async (lines, line, column, message) => {
    const { error, accesses } = await replayed(text(lines));
    expect(error).toMatchObject({ line, column, message: expect.stringMatching(message) });
    expect(accesses).toBe(lines === '' ? 0 : 1); // what stands before it counts
  });

  test('47 bits end below the last page, 56 with five levels', async () => {
    expect((await replayed(text('7fffffffefff r\n'))).error).toBeNull();
    expect((await replayed(text('ffffffffffefff r\n'), { la57: true })).error).toBeNull();
    expect((await replayed(text('ffffffffffefff r\n'))).error?.message).toMatch(/--la57/);
  });

  test('ChampSim: a cut record, flags that are none, an address', async () => {
    const two = champsim([{ ip: 0x400000n }, { ip: 0x400004n, branch: 2 }]);
    expect((await replayed(two)).error).toMatchObject({ line: 2, message: expect.stringMatching(/neither text nor a ChampSim record/) });
    expect((await replayed(two.subarray(0, 100))).error).toMatchObject({ line: 2, message: 'truncated: the last record has 36 of 64 bytes' });
    expect((await replayed(champsim([{ ip: 0x400000n }, { ip: 0x400004n, reads: [0x8000_0000_0000_0000n] }]))).error).toMatchObject({ line: 2, column: 33, message: expect.stringMatching(/not canonical/) });
  });

  test('a line without an end is no reason to take all memory', async () => {
    const endless: ByteSource = { read: (target) => target.fill(0x20).length };
    using replay = await Replay.create(endless, { pages: ['4K'] });
    await expect(replay.step()).rejects.toThrow('a line of more than 524287 bytes');
  });
});
