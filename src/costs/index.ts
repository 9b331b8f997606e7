/** The costs room: what translating addresses costs on a named CPU. */
export * from './cpu.ts';
export * from './cpus/index.ts';
export * from './references.ts';
export * from './model.ts';
export * from './create.ts';
