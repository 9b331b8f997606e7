/** The dax room: DAX entries, faults, write-back, layout breaks; device DAX. */
export * from './calls.ts';
export * from './clone.ts';
export * from './dedupe.ts';
export * from './device.ts';
export * from './entries.ts';
export * from './fault.ts';
export * from './falloc.ts';
export * from './file.ts';
export * from './open.ts';
export * from './remove.ts';
export * from './shift.ts';
export { isTied } from './ties.ts';
export * from './writeback.ts';
