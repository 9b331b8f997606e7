/** The scenario room: the .scn language of the kernel records: parse, run, compare. */
export { ScenarioError } from './error.ts';
export type { Answer } from './operation.ts';
export { operationsFor } from './operations.ts';
export { parseScenario, type Script } from './parse.ts';
export { addressOf, sizeOf } from './words.ts';
export { probeOf, runScenario, type RunOptions, type ScenarioRecord } from './run.ts';
export { agreesWhole, compareRecords, type Comparison } from './compare.ts';
