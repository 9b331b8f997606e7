/** Schedules of a shipped model, run to their end under the checks, the machine reset in between: as many as there are with up to three preemptions. */
import { MODELS, Session } from '../../explore/index.ts';
import { InvariantError } from '../../errno.ts';
import { Exploration } from '../../sched/index.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const PREEMPTIONS = 3;
/** two tasks each; the device of the second is on the 2019 API */
const NAMES = ['truncate-fault', 'valid-aba'];

export const exploreWorkloads: readonly Workload[] = NAMES.map((name) => ({
  name: `explore ${name}, up to ${PREEMPTIONS} preemptions`, table: 'explore', pageSize: null, quick: false, setup: () => exploreWork(name),
}));

async function exploreWork(name: string): Promise<Work> {
  const [walker, again] = [await exploring('walker', name), await exploring('null', name)];
  const unitsPerRun = walker.all();
  return { unit: 'schedule', unitsPerRun, contenders: [walker, { ...again, isNull: true }], against: ['walker'], warmupMs: 1500, rounds: 9 };
}

async function exploring(contender: string, name: string): Promise<Contender & { all(): number }> {
  const model = MODELS.find((one) => one.name === name);
  if (model === undefined) throw new InvariantError(`no model is called ${name}`);
  const session = await Session.create(model, null);
  const all = (): number => {
    const exploration = new Exploration({ maxPreemptions: PREEMPTIONS });
    while (!exploration.over) exploration.next((policy) => session.play(policy));
    return exploration.schedules;
  };
  return {
    name: contender,
    all,
    run: (times) => {
      for (let t = 0; t < times; t++) all();
    },
  };
}
