/** The bench room: workloads as data, measured side by side. No printing: that is cli's. */
export * from './workload.ts';
export * from './clock.ts';
export * from './spread.ts';
export * from './probe.ts';
export * from './measure.ts';
export * from './report.ts';
export * from './lines.ts';
export * from './compare.ts';
export * from './musts.ts';
export * from './suite.ts';
export * from './run.ts';
