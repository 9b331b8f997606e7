/** The hmm room: range walks under both APIs. It sees page tables, areas and pagemaps, never dax or files. */
export * from './walker.ts';
export * from './pfnWord.ts';
export * from './rangeFault.ts';
export * from './need2019.ts';
export * from './mirror2019.ts';
export * from './range2019.ts';
export * from './rangeFault2019.ts';
export * from './dmaLedger.ts';
export * from './dmaMap.ts';
