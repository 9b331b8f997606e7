/** The hmm room: range walks under both APIs. It sees page tables, areas and pagemaps, never dax or files. */
export * from './walker.ts';
export * from './rangeFault.ts';
