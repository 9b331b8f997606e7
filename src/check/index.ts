/** The check room: the rules, as observers of a machine. */
export { Checker, type Checked, type CheckerOptions, type WatchedMirror } from './checker.ts';
export { createChecker, type CheckOptions } from './create.ts';
export { findingText, type Finding, type Rule } from './finding.ts';
