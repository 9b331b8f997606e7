/**
 * Scenarios: how many a second, each on a machine of its own, parsed beforehand; and task switches, two tasks that yield in turn.
 */
import { InvariantError } from '../../errno.ts';
import { operationsFor, parseScenario, probeOf, runScenario } from '../../scenario/index.ts';
import { Scheduler, runOn, type Policy, type Sleepable } from '../../sched/index.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const PROFILE = 'v6.1';
/** a hole is punched into a file that a device mirrors, eight times over */
const PUNCHES = 8;
const SWITCHES = 1000;
const ROUNDS = 15;

export const scenarioWorkloads: readonly Workload[] = [
  { name: 'run a scenario', table: 'machine', pageSize: null, quick: false, setup: scenarioWork },
  { name: 'switch tasks', table: 'scheduler', pageSize: null, quick: false, setup: async () => switchWork() },
];

async function scenarioWork(): Promise<Work> {
  const lines = ['fs ext4', 'open f ext4:f', 'falloc f alloc 0 4M', 'map a 4M f', 'mirror m a 4M', 'fault a 4M w'];
  for (let i = 0; i < PUNCHES; i++) lines.push(`falloc f punch ${i * 256}K 64K`, 'events m', 'snap a 4M');
  const script = parseScenario('bench.scn', `${lines.join('\n')}\n`, operationsFor(probeOf(PROFILE)));
  return {
    unit: 'scenario', unitsPerRun: 1, contenders: [running('walker', script), { ...running('null', script), isNull: true }], against: ['walker'], wall: true, warmupMs: 200, rounds: ROUNDS,
  };
}

function running(name: string, script: ReturnType<typeof parseScenario>): Contender {
  return {
    name,
    run: async (times) => {
      for (let t = 0; t < times; t++) {
        const { result } = await runScenario(script, { profile: PROFILE });
        if (result !== 'ok') throw new InvariantError(`the scenario ends with ${result}`);
      }
    },
  };
}

function* yielding(sched: Scheduler, times: number): Sleepable<void> {
  for (let i = 0; i < times; i++) yield sched.point('bench', '');
}

/** Whoever ran last does not run next. */
const TURNS: Policy = { choose: (ready, last) => (ready.length > 1 && ready[0] === last ? 1 : 0) };

function switchWork(): Work {
  const turning = (name: string, policy: Policy): Contender => {
    const sched = new Scheduler();
    const once = (): void => {
      sched.spawn('a', yielding(sched, SWITCHES / 2));
      sched.spawn('b', yielding(sched, SWITCHES / 2));
      sched.run(policy);
    };
    return {
      name,
      run: (times) => {
        for (let t = 0; t < times; t++) once();
      },
    };
  };
  return {
    unit: 'switch', unitsPerRun: SWITCHES, contenders: [turning('walker', TURNS), { ...turning('null', TURNS), isNull: true }, turning('no switch', runOn)], against: ['no switch'], warmupMs: 100,
  };
}
