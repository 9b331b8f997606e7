/** The check room: the rules, as observers of a machine. */
export { Checker, type Checked, type CheckerOptions } from './checker.ts';
export type { WatchedMirror } from './mirrors.ts';
export type { ToldCount } from './told.ts';
export { RULES, RULE_NAMES, type Looked, type Rule } from './rules.ts';
export { createChecker, type CheckOptions, type DriverOptions } from './create.ts';
export { findingText, type Finding } from './finding.ts';
