/** The explore room: the interleavings of a model's tasks, found, shrunk and replayed. */
export { Violation, type Model } from './model.ts';
export { MODELS } from './models/index.ts';
export { BadReplay, decodeReplay, encodeReplay, type Field } from './replay.ts';
export { modelOfScript, type ScriptOrigin } from './script.ts';
export { Search, replaySchedule, type ExploreFinding, type Phase, type PhaseName, type SearchOptions, type SearchReport } from './search.ts';
export { Session, type Coverage, type Known } from './session.ts';
export { shrink } from './shrink.ts';
export { World } from './world.ts';
