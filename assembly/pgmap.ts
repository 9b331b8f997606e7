/**
 * dev_pagemap as the 2019 walk sees it (get_dev_pagemap and put_dev_pagemap, v5.2): one reference is held at a time, on
 * the range that covered the last devmap page. REQ_PGMAP says which; counting is the caller's, from what that says.
 */
import { HDR_PGMAP_COUNT, PGMAP_BASE, PGMAP_END, PGMAP_LIVE, PGMAP_MAX, PGMAP_STATE, PGMAP_STRIDE, PGMAP_TABLE } from '../src/abi';

/** Where the range with index + 1 = `held` is described. */
@inline
export function pgmapAt(held: u32): u32 {
  return PGMAP_TABLE + (held - 1) * PGMAP_STRIDE;
}

@inline
export function pgmapCovers(held: u32, address: u64): bool {
  const at = pgmapAt(held);
  return address >= load<u64>(at, PGMAP_BASE) && address < load<u64>(at, PGMAP_END);
}

@inline
export function pgmapIsLive(held: u32): bool {
  return load<u32>(pgmapAt(held), PGMAP_STATE) == PGMAP_LIVE;
}

/**
 * Index + 1 of the range to hold for the byte at `address`: `held` (0: none) while it covers it, whatever became of it,
 * for who holds a reference keeps it; else the range there if it is live; else 0.
 */
export function pgmapFor(held: u32, address: u64): u32 {
  if (held != 0 && pgmapCovers(held, address)) return held;
  const count = min<u32>(load<u32>(HDR_PGMAP_COUNT), PGMAP_MAX);
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u64>(pgmapAt(middle + 1), PGMAP_END) > address) high = middle;
    else low = middle + 1;
  }
  if (low == count) return 0;
  return pgmapCovers(low + 1, address) && pgmapIsLive(low + 1) ? low + 1 : 0;
}
