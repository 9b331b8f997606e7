/** The persistence room: what of persistent memory survives a power cut. */
export * from './persistence.ts';
