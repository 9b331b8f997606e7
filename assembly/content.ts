/**
 * The way from a physical address to its byte: the content directory (abi.ts draws it; src/arena/content.ts writes it).
 */
import {
  CHUNKS_PER_SECTION, CHUNK_SHIFT, CHUNK_SIZE, CONTENT_LINEAR, CONTENT_TAG_MASK, DIRECTORY_ENTRIES, DIRECTORY_SHIFT, HDR_DIRECTORY, SECTION_SHIFT,
  SECTION_SIZE,
} from '../src/abi';

/** Arena offset of the byte at `paddr`, or 0 when nothing was written near it. Valid to the end of its 64 KiB chunk. */
export function contentOffset(paddr: f64): u32 {
  const address = <u64><i64>paddr;
  const section = address >> SECTION_SHIFT;
  if (section >> (3 * DIRECTORY_SHIFT) != 0) return 0;
  let node = load<u32>(HDR_DIRECTORY);
  for (let shift: u32 = 2 * DIRECTORY_SHIFT; ; shift -= DIRECTORY_SHIFT) {
    if (node == 0) return 0;
    node = load<u32>(node + ((<u32>(section >> shift) & (DIRECTORY_ENTRIES - 1)) << 2));
    if (shift == 0) break;
  }
  if (node == 0) return 0;
  const base = node & ~CONTENT_TAG_MASK;
  if ((node & CONTENT_TAG_MASK) == CONTENT_LINEAR) return base + (<u32>address & (SECTION_SIZE - 1));
  const chunk = load<u32>(base + ((<u32>(address >> CHUNK_SHIFT) & (CHUNKS_PER_SECTION - 1)) << 2));
  return chunk == 0 ? 0 : chunk + (<u32>address & (CHUNK_SIZE - 1));
}

/** Makes bytes zero: as fast as memory goes, where a typed array over shared memory is filled a byte at a time. */
export function zero(offset: u32, nbytes: u32): void {
  memory.fill(offset, 0, nbytes);
}
