/** hmm_release() of 2019: a mirror that is taken off the list before it is told misses what is taken away in between. */
import { expect, test } from 'vitest';
import { MODELS, Session } from '../../dist/explore/index.js';
import { Exploration } from '../../dist/sched/index.js';

const model = MODELS.find(({ name }) => name === 'release-window')!;

async function explored(bug: 'release-window' | null): Promise<number> {
  const session = await Session.create(model, bug);
  const exploration = new Exploration({ maxPreemptions: 1 });
  while (exploration.next((policy) => session.play(policy)));
  return exploration.schedules;
}

test('release-window: truncate takes a block away between the two, and the device still has it', async () => {
  await expect(explored('release-window')).rejects.toThrow(/mirror-coherent: gpu has pte/);
});

test('off: the mirror hears of everything until it has been told that all goes', async () => {
  expect(await explored(null)).toBeGreaterThan(10);
});
