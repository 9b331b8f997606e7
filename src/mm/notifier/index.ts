/** The notifier room: classic and interval mmu notifiers. */
export * from './notifier.ts';
