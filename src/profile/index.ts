/** The profile room: which kernel is modelled, and which of its bugs. */
export * from './bugs.ts';
export * from './profile.ts';
export * from './bugShows.ts';
export * from './ownBugs.ts';
