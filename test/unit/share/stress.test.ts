/** Two Workers read what a third thread changes: every answer was true at some moment of its call, and none was used when it was not any more. */
import { expect, test } from 'vitest';
import { stressShared } from '../../support/shareStress.ts';

test('no answer is torn, none is stale', async () => {
  const seed = BigInt(Date.now());
  console.log(`seed ${seed}n`);
  const result = await stressShared({ seed, ms: 3000 });
  expect(result.wrong).toEqual([]);
  // It looked at something: at answers given beside an operation, and at words that had become stale.
  expect(result.operations).toBeGreaterThan(100);
  expect(result.checked).toBeGreaterThan(1000);
  expect(result.contended).toBeGreaterThan(10);
  expect(result.faults).toBeGreaterThan(0);
}, 30_000);
