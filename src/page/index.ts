/** The page room: struct page records, and the RAM that they describe. */
export * from './anonVma.ts';
export * from './fileOwners.ts';
export * from './hugePool.ts';
export * from './records.ts';
export * from './ram.ts';
export * from './swapCache.ts';
export * from './locks.ts';
export * from './watch.ts';
