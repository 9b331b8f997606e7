/** Finds the first state on which model and kernel differ, and the shortest sequence that still shows such a difference. */
import type { State, States } from './sides.ts';
import type { Step } from './steps.ts';

export interface Difference {
  /** index of the state; the steps' come first, then those of processes that forked */
  readonly at: number;
  readonly what: 'errno' | 'areas' | 'contents' | 'end';
  readonly model: string;
  readonly host: string;
}

export interface Found {
  readonly steps: readonly Step[];
  readonly difference: Difference;
}

/** Both sides of a sequence. */
export type Ask = (steps: readonly Step[]) => { readonly model: States; readonly host: States };

export function differenceOf(ask: Ask, steps: readonly Step[]): Difference | null {
  const { model, host } = ask(steps);
  for (let at = 0; at < Math.max(model.length, host.length); at++) {
    const difference = stateDifference(at, model[at], host[at]);
    if (difference !== null) return difference;
  }
  return null;
}

function stateDifference(at: number, model: State | undefined, host: State | undefined): Difference | null {
  if (model === undefined || host === undefined) return { at, what: 'end', model: model === undefined ? 'has ended' : 'goes on', host: host === undefined ? 'has ended' : 'goes on' };
  if (model.errno !== host.errno) return { at, what: 'errno', model: model.errno, host: host.errno };
  const [ours, theirs] = [model.areas.join(', '), host.areas.join(', ')];
  if (ours !== theirs) return { at, what: 'areas', model: ours, host: theirs };
  return model.contents === host.contents ? null : { at, what: 'contents', model: model.contents, host: host.contents };
}

/** Leaves out runs of steps, halving their length, as long as something still differs in the same way (errno, areas, contents). */
export function shrink(ask: Ask, found: Found): Found {
  let best = found;
  for (let run = Math.ceil(best.steps.length / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2)) {
    for (let from = best.steps.length - run; from >= 0; from -= run) {
      const steps = [...best.steps.slice(0, from), ...best.steps.slice(from + run)];
      const difference = differenceOf(ask, steps);
      if (difference !== null && difference.what === best.difference.what) best = { steps, difference };
    }
  }
  return best;
}
