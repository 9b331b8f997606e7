/** contentOffset: the way from a physical address to its byte, over directories built by hand. */
import { describe, expect, test } from 'vitest';
import { CHUNK_SIZE, CONTENT_LINEAR, CONTENT_SPARSE, HDR_DIRECTORY, SECTION_SIZE } from '../../../src/abi.ts';
import { BUILDS, BareArena } from '../../support/wasm.ts';

const TIB = 2 ** 40;

/** Hangs `word` into the directory for the section of `paddr`. */
function hang(arena: BareArena, paddr: number, word: number): void {
  const section = Math.floor(paddr / SECTION_SIZE);
  if (arena.get32(HDR_DIRECTORY) === 0) arena.set32(HDR_DIRECTORY, arena.wasm.frameAlloc());
  let node = arena.get32(HDR_DIRECTORY);
  for (const index of [Math.floor(section / 2 ** 20) % 1024, Math.floor(section / 1024) % 1024]) {
    if (arena.get32(node + index * 4) === 0) arena.set32(node + index * 4, arena.wasm.frameAlloc());
    node = arena.get32(node + index * 4);
  }
  arena.set32(node + (section % 1024) * 4, word);
}

describe.each(BUILDS)('%s: contentOffset', (build) => {
  const arena = new BareArena(build);
  const linear = arena.free;
  const chunks = arena.free + SECTION_SIZE;
  hang(arena, TIB, linear + CONTENT_LINEAR);
  hang(arena, TIB + 3 * SECTION_SIZE, chunks + CONTENT_SPARSE);
  hang(arena, 2 ** 51 - SECTION_SIZE, linear + SECTION_SIZE + CONTENT_LINEAR);
  arena.set32(chunks + 4 * 5, chunks + CHUNK_SIZE);

  test('linear: arena bytes in a row', () => {
    expect(arena.wasm.contentOffset(TIB)).toBe(linear);
    expect(arena.wasm.contentOffset(TIB + 12345)).toBe(linear + 12345);
    expect(arena.wasm.contentOffset(TIB + SECTION_SIZE - 1)).toBe(linear + SECTION_SIZE - 1);
  });

  test('sparse: chunk by chunk, 0 for those never written', () => {
    const section = TIB + 3 * SECTION_SIZE;
    expect(arena.wasm.contentOffset(section + 5 * CHUNK_SIZE + 77)).toBe(chunks + CHUNK_SIZE + 77);
    expect(arena.wasm.contentOffset(section + 4 * CHUNK_SIZE)).toBe(0);
    expect(arena.wasm.contentOffset(section + 6 * CHUNK_SIZE - 1)).toBe(chunks + 2 * CHUNK_SIZE - 1);
  });

  test('nothing was written: 0 at every step of the way', () => {
    expect(arena.wasm.contentOffset(TIB + SECTION_SIZE)).toBe(0);
    expect(arena.wasm.contentOffset(2 ** 45)).toBe(0);
    expect(arena.wasm.contentOffset(0)).toBe(0);
    expect(new BareArena(build).wasm.contentOffset(TIB)).toBe(0);
  });

  test('the directory ends at 2^51; addresses above have no content', () => {
    expect(arena.wasm.contentOffset(2 ** 51 - 1)).toBe(linear + 2 * SECTION_SIZE - 1);
    expect(arena.wasm.contentOffset(2 ** 51)).toBe(0);
    expect(arena.wasm.contentOffset(2 ** 52 - 1)).toBe(0);
  });
});
