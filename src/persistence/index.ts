/** The persistence room: what of persistent memory survives a power cut. */
export * from './persistence.ts';
export { LINE_BYTES } from '../arena/index.ts';
