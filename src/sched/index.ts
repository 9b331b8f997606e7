/** The sched room: tasks, locks, virtual time, schedules. */
export * from './task.ts';
export * from './scheduler.ts';
export * from './locks.ts';
export * from './watch.ts';
export * from './random.ts';
export * from './policies.ts';
export { Exploration, ScheduleError, exploreSchedules, type ExploreOptions, type ExploreResult, type Position } from './explore.ts';
export * from './estimate.ts';
