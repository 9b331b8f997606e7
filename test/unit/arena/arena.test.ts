import { describe, expect, it } from 'vitest';
import { Arena } from '../../../dist/arena/index.js';
import { ABI } from '../../support/abi.ts';

const MiB = 2 ** 20;
const CHUNK = ABI.CHUNK_SIZE;
/** a physical address of RAM and one of pmem */
const PLACES = [4 * 2 ** 30, 2 ** 40 + 3 * MiB + 0x4000] as const;

describe('an arena', () => {
  it('writes its header, and hands out zeroed frames from the bottom, blocks from the top', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    expect(arena.u32[ABI.HDR_MAGIC >>> 2]).toBe(ABI.ARENA_MAGIC);
    expect(arena.u32[ABI.HDR_ABI_VERSION >>> 2]).toBe(ABI.ABI_VERSION);
    const [one, two] = [arena.frameAlloc(), arena.frameAlloc()];
    expect([one, two]).toEqual([ABI.FRAMES, ABI.FRAMES + 4096]);
    for (const nbytes of [64, 4096, 65536, 2 * MiB]) {
      const block = arena.blockAlloc(nbytes);
      expect(block % nbytes, `${nbytes}`).toBe(0);
      expect(block).toBeGreaterThan(two);
      expect(arena.u8.subarray(block, block + nbytes).every((byte) => byte === 0)).toBe(true);
      arena.u8.fill(0xff, block, block + nbytes);
      arena.blockFree(block, nbytes);
      const again = arena.blockAlloc(nbytes);
      expect(arena.u8.subarray(again, again + nbytes).every((byte) => byte === 0), `${nbytes} again`).toBe(true);
      arena.blockFree(again, nbytes);
    }
  });

  it('lets frames and blocks meet anywhere, answers 0 when they have, and goes on when something is given back', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    const frames: number[] = [];
    for (let frame = arena.frameAlloc(); frame !== 0; frame = arena.frameAlloc()) frames.push(frame);
    expect(frames.length).toBe((16 * MiB - ABI.FRAMES) / 4096);
    expect(arena.blockAlloc(64)).toBe(0);
    expect(arena.runAlloc(2 * MiB, true)).toBe(0);
    expect(() => arena.window(8)).toThrow(/ENOMEM/);
    arena.walker.frameFree(frames.at(-1) as number);
    expect(arena.frameAlloc()).toBe(frames.at(-1));
    arena.reset();
    const blocks: number[] = [];
    for (let block = arena.blockAlloc(2 * MiB); block !== 0; block = arena.blockAlloc(2 * MiB)) blocks.push(block);
    expect(blocks).toHaveLength(7);
    expect(arena.frameAlloc()).toBe(ABI.FRAMES);
  });

  it('fails the allocation it was told to fail, once', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    arena.failAfter(3);
    expect([arena.frameAlloc() !== 0, arena.blockAlloc(64) !== 0, arena.frameAlloc(), arena.frameAlloc() !== 0]).toEqual([true, true, 0, true]);
  });

  it('gives windows back, and views them in halves and words', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    const before = arena.usage.blockBytes;
    for (const nwords of [1, 8, 512, 100_000, 400_000]) {
      const window = arena.window(nwords);
      expect(window.offset % Math.min(2 * MiB, 2 ** Math.ceil(Math.log2(Math.max(64, nwords * 8))))).toBe(0);
      window.words[nwords - 1] = (7n << 32n) | 5n;
      expect([...window.halves.subarray(-2)]).toEqual([5, 7]);
      window.free();
      window.free();
    }
    expect(arena.usage.blockBytes).toBe(before);
  });
});

describe('content', () => {
  it('zeroes to the byte across sections of which some were never written', async () => {
    const arena = await Arena.create({ bytes: 32 * MiB });
    const base = 4 * 2 ** 30; // a section each: bytes, none, bytes, none, bytes
    for (const section of [0, 2, 4]) expect(arena.content.write(base + section * 2 * MiB, new Uint8Array(2 * MiB).fill(7), 0, 2 * MiB)).toBe(true);
    arena.content.zero(base + 100, 9 * MiB);
    const got = new Uint8Array(10 * MiB);
    arena.content.read(base, got, 0, got.length);
    expect(got.subarray(0, 100).every((byte) => byte === 7)).toBe(true);
    expect(got.subarray(100, 100 + 9 * MiB).every((byte) => byte === 0)).toBe(true);
    expect(got.subarray(100 + 9 * MiB).every((byte) => byte === 7)).toBe(true);
  });

  it('reads zero and costs nothing until it is written', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    const target = new Uint8Array(100).fill(9);
    for (const paddr of PLACES) {
      arena.content.read(paddr, target, 10, 50);
      expect([...target.subarray(8, 12), target[59], target[60]]).toEqual([9, 9, 0, 0, 0, 9]);
      expect(arena.content.offsetOf(paddr)).toBe(0);
      expect(arena.walker.contentOffset(paddr)).toBe(0);
      target.fill(9);
    }
    expect(arena.usage).toEqual({ tableBytes: 0, blockBytes: 0 });
  });

  it('keeps what is written, across chunks and sections, the same for WASM', async () => {
    const arena = await Arena.create({ bytes: 32 * MiB });
    for (const place of PLACES) {
      const paddr = Math.floor(place / (2 * MiB)) * 2 * MiB + 2 * MiB - 100_000;
      const bytes = new Uint8Array(300_000).map((_, i) => (i * 31) % 251);
      expect(arena.content.write(paddr, bytes, 0, bytes.length)).toBe(true);
      const got = new Uint8Array(bytes.length);
      arena.content.read(paddr, got, 0, got.length);
      expect(Buffer.compare(got, bytes)).toBe(0);
      for (const at of [0, 99_999, 100_000, 299_999]) {
        const offset = arena.content.offsetOf(paddr + at);
        expect(arena.walker.contentOffset(paddr + at) >>> 0).toBe(offset);
        expect(arena.u8[offset]).toBe(bytes[at]);
      }
      arena.content.zero(paddr + 1, 200_000);
      arena.content.read(paddr, got, 0, got.length);
      expect([got[0], got[1], got[200_000], got[200_001]]).toEqual([bytes[0], 0, 0, bytes[200_001]]);
      expect(arena.content.copy(paddr + 8 * MiB, paddr + 200_704, 8192)).toBe(true);
      arena.content.read(paddr + 8 * MiB, got, 0, 8192);
      expect(Buffer.compare(got.subarray(0, 8192), bytes.subarray(200_704, 208_896))).toBe(0);
    }
  });

  it('writes nothing where not all of it finds room', async () => {
    const arena = await Arena.create({ bytes: 16 * MiB });
    while (arena.blockAlloc(CHUNK) !== 0);
    const paddr = PLACES[1];
    expect(arena.content.write(paddr, new Uint8Array(10 * CHUNK).fill(1), 0, 10 * CHUNK)).toBe(false);
    const got = new Uint8Array(10 * CHUNK);
    arena.content.read(paddr, got, 0, got.length);
    expect(got.every((byte) => byte === 0)).toBe(true);
  });

  it('lies on bytes of one\'s own where it is attached, and reads zero after it is detached', async () => {
    const arena = await Arena.create({ bytes: 32 * MiB });
    const nbytes = 5 * MiB;
    const run = arena.runAlloc(nbytes, true);
    const paddr = 2 ** 40 + MiB;
    expect(arena.content.attach(paddr, run + MiB, 4 * MiB)).toBe(true);
    arena.u8[run + MiB] = 1;
    arena.u8[run + 2 * MiB + 5] = 2;
    arena.u8[run + 5 * MiB - 1] = 3;
    const got = new Uint8Array(1);
    const byteAt = (at: number): number => {
      arena.content.read(paddr + at, got, 0, 1);
      return got[0] as number;
    };
    expect([byteAt(0), byteAt(MiB + 5), byteAt(4 * MiB - 1), byteAt(4 * MiB)]).toEqual([1, 2, 3, 0]);
    expect(arena.content.write(paddr + 3 * MiB, Uint8Array.of(77), 0, 1)).toBe(true);
    expect(arena.u8[run + 4 * MiB]).toBe(77);
    arena.content.detach(paddr, 4 * MiB);
    expect([byteAt(0), byteAt(MiB + 5), byteAt(4 * MiB - 1)]).toEqual([0, 0, 0]);
    expect(arena.u8[run + 4 * MiB]).toBe(77);
  });
});
