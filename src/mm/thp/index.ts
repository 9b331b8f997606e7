/** The thp room: anonymous memory in 2 MiB pages, and what becomes of huge leaves that are cut. */
export * from './collapse.ts';
export * from './copy.ts';
export * from './fault.ts';
export * from './split.ts';
export * from './splitPage.ts';
