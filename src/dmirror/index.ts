/** The dmirror room: the device that mirrors. */
export * from './device.ts';
export * from './modern.ts';
export * from './legacy.ts';
export * from './deviceMemory.ts';
export * from './migrate.ts';
export * from './exclusive.ts';
