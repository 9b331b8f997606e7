/** The hugetlb room: pages of 2 MiB and 1 GiB from pools, promised before they are used, mapped whole or not at all. */
export * from './fault.ts';
export * from './file.ts';
export * from './fork.ts';
export * from './move.ts';
export * from './open.ts';
export * from './unmap.ts';
