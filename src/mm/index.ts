/** The mm room: address spaces, areas, faults, and the way from a file back to who maps it. It never imports dax: it calls `vma.ops`. */
export * from './notifier/index.ts';
export * from './mm.ts';
export * from './file.ts';
export * from './access.ts';
export * from './anonVma.ts';
export * from './mprotect.ts';
export * from './vma.ts';
export * from './mmap.ts';
export * from './madvise.ts';
export * from './fault.ts';
export * from './fork.ts';
export * from './insert.ts';
export * from './oomReaper.ts';
export * from './rmap.ts';
export * from './thp/index.ts';
export * from './zap.ts';
export * from './migrate/index.ts';
