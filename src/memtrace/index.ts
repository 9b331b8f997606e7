/** The memtrace room: readers of memory traces, and their replay on a machine. */
export * from './format.ts';
export * from './decoder.ts';
export * from './replay.ts';
