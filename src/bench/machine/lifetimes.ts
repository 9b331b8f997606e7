/**
 * Machines: made while others live, and reset. By wall time, since making one is not one thread's work.
 *
 * The first machine of a process compiles the WASM module and is not counted. Memory is what the process's resident set grew by,
 * divided by the machines made.
 */
import { createMachine, createMirror, type Machine } from '../../api/index.ts';
import { InvariantError } from '../../errno.ts';
import { KiB, MiB } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const MACHINES_WEIGHED = 32;
const CREATE_ROUNDS = 31;
const TOUCHED_BYTES = 64 * KiB;
/** reset in a row: one is over before the clock has moved far enough */
const MACHINES_RESET = 16;

export const machineWorkloads: readonly Workload[] = [
  { name: 'create a machine', table: 'machine', pageSize: null, quick: false, setup: createWork },
  { name: 'reset a machine', table: 'machine', pageSize: null, quick: false, setup: resetWork },
];

async function createWork(): Promise<Work> {
  const alive: Machine[] = [await createMachine()];
  const rssBefore = process.memoryUsage.rss();
  for (let i = 0; i < MACHINES_WEIGHED; i++) alive.push(await createMachine());
  const rssBytes = (process.memoryUsage.rss() - rssBefore) / MACHINES_WEIGHED;
  const creating = (name: string): Contender => ({
    name,
    run: async (times) => {
      for (let i = 0; i < times; i++) alive.push(await createMachine());
    },
  });
  return {
    unit: 'machine',
    unitsPerRun: 1,
    contenders: [creating('walker'), { ...creating('null'), isNull: true }],
    against: ['walker'],
    wall: true,
    warmupMs: 0,
    rounds: CREATE_ROUNDS,
    sizes: () => ({ rssBytes }),
    dispose: () => {
      for (const machine of alive) machine.dispose();
    },
  };
}

async function resetWork(): Promise<Work> {
  const machines = await Promise.all(Array.from({ length: MACHINES_RESET }, () => createMachine({ native: 'off' })));
  const resetting = (name: string): Contender => ({
    name,
    before: () => {
      for (const machine of machines) touch(machine);
    },
    run: () => {
      for (const machine of machines) machine.reset();
    },
  });
  return {
    unit: 'reset',
    unitsPerRun: MACHINES_RESET,
    contenders: [resetting('walker'), { ...resetting('null'), isNull: true }],
    against: ['walker'],
    wall: true,
    single: true,
    warmupMs: 100,
    dispose: () => {
      for (const machine of machines) machine.dispose();
    },
  };
}

/** A file of 64 KiB, mapped, mirrored and written to from both sides. */
function touch(machine: Machine): void {
  const file = machine.pmem({ size: 2 * MiB }).file('bench', { size: TOUCHED_BYTES, extent: '4K' });
  const space = machine.mm();
  const { start } = space.mmap(file, { length: TOUCHED_BYTES });
  const mirror = createMirror(space);
  const half = new Uint8Array(TOUCHED_BYTES / 2).fill(7);
  space.store(start, half);
  mirror.write(start + BigInt(half.length), half);
  if (machine.counts.faults === 0) throw new InvariantError('nothing was touched');
}
