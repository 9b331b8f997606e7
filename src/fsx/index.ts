/** The fsx room: a file system exerciser whose mapped accesses a device carries out. */
export { FsxFailure, type FailureKind } from './failure.ts';
export { DEFAULT_MIX, type Mix } from './generate.ts';
export { FILE_BYTES_MAX, LogError, LogWriter, PLACES_MAX, logText, parseLog, type OperationLog } from './log.ts';
export { ACCESSORS, CLASSIC_OPERATIONS, DEFAULT_LAYOUT, OWN_OPERATIONS, operationText, type AccessorName, type Layout, type Operation, type OperationName } from './operation.ts';
export type { Care } from './scene.ts';
export { runFsx, type FsxFinding, type FsxOptions, type FsxResult } from './run.ts';
