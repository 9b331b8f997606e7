/**
 * What is explored: a few tasks on a small machine, made anew for each schedule.
 *
 * A model must repeat itself: nothing in it may depend on anything but its bug switches. `build` sets the world up and spawns the tasks;
 * what it returns is called when all have ended and says in a line what it came to, the same for equal ends.
 */
import type { Finding } from '../check/index.ts';
import type { BugSwitch, ProfileName } from '../profile/index.ts';
import type { World } from './world.ts';

export interface Model {
  readonly name: string;
  /** of a file: how it is named on a command line, as replay strings have no room for it */
  readonly argument?: string;
  /** who races with whom */
  readonly about: string;
  readonly tasks: number;
  readonly profile: ProfileName;
  /** switches that stand for the era it is about: on in the clean model too */
  readonly era?: readonly BugSwitch[];
  /** switches that it finds, the most telling first */
  readonly bugs: readonly BugSwitch[];
  /** every schedule with so many preemptions is run: at least 3 of two tasks, 2 of more */
  readonly preemptions: number;
  /** every schedule, up to equivalence, is within reach (less than a million) */
  readonly all: boolean;
  /** of its machine (default: 16 MiB of arena, 64 pages of RAM) */
  readonly room?: { readonly arenaBytes: number; readonly ramPages: number };
  build(world: World): () => string;
}

/** A rule was broken. */
export class Violation extends Error {
  readonly rule: string;
  /** what the checks say of it; null: it was seen without them */
  readonly finding: Finding | null;
  constructor(rule: string, what: string, finding: Finding | null = null) {
    super(`${rule}: ${what}`);
    this.name = 'Violation';
    this.rule = rule;
    this.finding = finding;
  }
}
