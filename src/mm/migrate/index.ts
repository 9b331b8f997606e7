/** The migrate room: pages to a device's memory and back, and pages that a device has to itself. */
export * from './migration.ts';
export * from './migrateVma.ts';
export * from './byHand.ts';
export * from './coherent.ts';
export * from './deviceRange.ts';
export * from './exclusive.ts';
export * from './swapFault.ts';
export { swapPfn } from './entries.ts';
export { cacheOf } from './mappers.ts';
