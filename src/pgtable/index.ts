/** The pgtable room: x86-64 entries and tables. */
export * from './entry.ts';
export * from './pageTable.ts';
export * from './swapEntry.ts';
