/**
 * The exports, nothing else. Page numbers and physical addresses cross as f64, offsets and counts as u32 (which
 * JavaScript sees signed: `>>> 0`), words never: they stay in the arena. src/abi.ts has the request block.
 */
import { ABI_VERSION } from '../src/abi';

export { contentOffset, zero } from './content';
export { harvest, protect, split, zap } from './change';
export { costAccess, costFlush, costInvalidate, costReplay } from './costs';
export { descend } from './descend';
export { frameAlloc, frameFree } from './frames';
export { install } from './install';
export { readChampsim, readLackey, readPlain } from './memtrace';
export { freeSpace, freeTables, map, nextEntry, setEntry, setRaw, slot, tableCount } from './tables';
export { translate, translateBatch } from './translate';
export { walk } from './walk';

export function abiVersion(): u32 {
  return ABI_VERSION;
}
