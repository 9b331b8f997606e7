/**
 * Profiles v6.1 and v6.12 against what real kernels answered (v6.1/, v6.12/: scenarios put to them line by line through a probe in a
 * guest; KERNEL.json says which kernel). Compared is the contract of support/contract.ts, operation by operation.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Renaming, differences, type Answer } from '../support/contract.ts';
import { ModernRecording } from '../support/recordModern.ts';
import { checkPgmaps, makeMachine } from '../support/rig.ts';

afterEach(checkPgmaps);

/** Operations that the rooms cannot carry out, and why. */
const SKIPPED: Readonly<Record<string, string>> = {
  smaps: 'the text of /proc/PID/smaps is not modelled',
  page: 'flags and counts of one struct page are no part of what a driver may rely on',
  pin: 'there is no pin_user_pages()',
};

interface RecordedOp extends Answer {
  readonly i: number;
  readonly op: string;
}

interface Recorded {
  readonly scenario: string;
  readonly result: string;
  readonly ops: readonly RecordedOp[];
}

describe.each(['v6.1', 'v6.12'])('%s answers as the recorded kernel did', (profile) => {
  const folder = new URL(`${profile}/`, import.meta.url);
  const names = readdirSync(folder).filter((file) => file.endsWith('.json') && file !== 'KERNEL.json').map((file) => file.replace(/\.json$/, ''));

  test.each(names)('%s', async (name) => {
    const { scenario, result, ops } = read(folder, name);
    expect([scenario, result]).toEqual([name, 'ok']);
    const rig = await makeMachine({ profile, arenaBytes: 512 * 2 ** 20, ramPages: 65536 });
    const recording = new ModernRecording(rig);
    const frames = new Renaming();
    let compared = 0;
    for (const recorded of ops) {
      if (operation(recorded) in SKIPPED) continue;
      expect(differences(recorded, recording.do(recorded.op), frames), `line ${recorded.i}: ${recorded.op}`).toEqual({});
      compared++;
    }
    expect(compared, 'operations compared').toBeGreaterThan(0);
  });

  test('nothing is skipped that does not occur', () => {
    const operations = names.flatMap((name) => read(folder, name).ops.map(operation));
    expect(operations).toEqual(expect.arrayContaining(Object.keys(SKIPPED)));
  });
});

function read(folder: URL, name: string): Recorded {
  return JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Recorded;
}

function operation({ op }: RecordedOp): string {
  return op.split(' ', 1)[0] as string;
}
