/** The scenario room: the .scn language of the kernel records: parse, run, compare. */
export { besideEachOther, type Beside } from './beside.ts';
export { agreesWhole, compareRecords, type Comparison, type Difference } from './compare.ts';
export { ScenarioError } from './error.ts';
export { Guest, type ProbeApi } from './guest.ts';
export type { Answer } from './operation.ts';
export { operationsFor } from './operations.ts';
export { parseScenario, type Line, type Script } from './parse.ts';
export { Process } from './process.ts';
export { performTask } from './tasks.ts';
export { RecordError, checkRecordIsOf, readRecord, recordText, type ScenarioRecord } from './record.ts';
export { groupsOf, probeOf, runNext, runScenario, type RunOptions } from './run.ts';
export { addressOf, sizeOf } from './words.ts';
export { nearest } from '../nearest.ts';
