/** The filemap room: the page cache, faults and calls of files that are not DAX, and shmem. */
export * from './cache.ts';
export * from './cachedFile.ts';
export * from './inodeCache.ts';
export * from './open.ts';
export * from './shmem.ts';
export * from './truncate.ts';
export * from './unmapFolio.ts';
