/** The fs room: inodes, extents, allocation. Data paths of DAX files are dax's. */
export * from './inode.ts';
export * from './knownHoles.ts';
export * from './mappings.ts';
export * from './profile.ts';
export * from './fileSystem.ts';
export * from './extents.ts';
export * from './allocator.ts';
export { hintedSpan, placeBlocks, type Wanted } from './place.ts';
export * from './reflink.ts';
export * from './sharing.ts';
export * from './backing.ts';
export * from './zeroout.ts';
export * from './journal.ts';
export * from './uncommitted.ts';
export * from './powerCut.ts';
