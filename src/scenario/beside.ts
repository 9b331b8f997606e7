/**
 * Two runs of one script beside each other: of two kernels, or asked through the two APIs.
 *
 * What the APIs merely say differently is no difference: the 2019 one counts pages and tells no order, and its invalidations have no
 * type. So between APIs only what both can say is compared.
 */
import { Renaming, compareAnswers } from './compare.ts';
import type { Answer } from './operation.ts';
import type { ScenarioRecord } from './record.ts';

export interface Beside {
  readonly op: string;
  readonly left: Answer | undefined;
  readonly right: Answer | undefined;
  /** members that differ, and those that do only in what nobody may rely on */
  readonly contract: readonly string[];
  readonly detail: readonly string[];
}

/** Operation by operation. `sameApi`: were both asked through one API? */
export function besideEachOther(left: ScenarioRecord, right: ScenarioRecord, sameApi: boolean): Beside[] {
  const frames = new Renaming();
  const view = sameApi ? (answer: Answer): Answer => answer : sayable;
  return Array.from({ length: Math.max(left.ops.length, right.ops.length) }, (_, i) => {
    const [a, b] = [left.ops[i], right.ops[i]];
    const op = String((a ?? b)?.['op']);
    const differences = a === undefined || b === undefined ? { contract: ['missing'], detail: [] } : compareAnswers(view(a), view(b), frames);
    return { op, left: a, right: b, ...differences };
  });
}

/** Members that only the one API has. */
const ONE_SIDED = ['count', 'valid', 'sem', 'first', 'faults', 'from', 'notifiers', 'stale'];

/** What both APIs can say of an answer. */
function sayable(answer: Answer): Answer {
  const { pfns, events, ...rest } = answer;
  for (const key of ONE_SIDED) delete rest[key];
  return {
    ...rest,
    ...(pfns === undefined ? {} : { pfns: (pfns as readonly Answer[]).map(sayableRun) }),
    ...(events === undefined ? {} : { events: (events as readonly Answer[]).map(({ start, end }) => ({ type: 'any', start, end, block: true })) }),
  };
}

/** A run without order and congruence; S is the 2019 API's word for a page that the modern one calls an error. */
function sayableRun({ n, f, k, at }: Answer): Answer {
  const text = String(f);
  const word = text.startsWith('in:') ? 'in' : text.replace('S', 'E');
  return { n, f: word, ...(k === undefined ? {} : { k }), ...(at === undefined ? {} : { at }) };
}
