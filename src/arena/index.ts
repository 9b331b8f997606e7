/** The arena room: the memory, its allocators and the WASM that works on it. */
export * from './arena.ts';
export * from './content.ts';
export * from './wasm.ts';
