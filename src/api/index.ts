/** The public facade. Addresses, frames and raw words are bigint; lengths, offsets and counts numbers. */
export * from './machine.ts';
export * from './addressSpace.ts';
export * from './file.ts';
export * from './pmem.ts';
export * from './powerCuts.ts';
export * from './deviceMemory.ts';
export * from './mirror.ts';
export * from './guest.ts';
export * from './range.ts';
export * from './hmm2019.ts';
