/** The share room: how other threads read the tables while their owner changes them, and ask it for pages. */
export * from './handle.ts';
export * from './tables.ts';
export * from './places.ts';
export * from './reader.ts';
export * from './place.ts';
export * from './stepped.ts';
