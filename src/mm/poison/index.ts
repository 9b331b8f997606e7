/** The poison room: memory that fails, or is taken out of use before it does. */
export * from './inject.ts';
export { PoisonSignal } from './signal.ts';
