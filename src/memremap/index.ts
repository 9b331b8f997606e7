/** The memremap room: dev_pagemap, and the platform record that the rooms above share. */
export * from './ledger.ts';
export * from './uncommitted.ts';
export * from './pgmap.ts';
export * from './platform.ts';
