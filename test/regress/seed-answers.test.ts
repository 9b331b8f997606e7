/** What the calls of the 2019 API answer: errors thrown away, marks wiped, counts cut short, hints taken for pages. */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_PRESENT, PTE_SPECIAL } from '../../dist/abi.js';
import type { BugSwitch } from '../../dist/profile/index.js';
import { fault, letters, snap } from '../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

async function withSwitch(bug: BugSwitch, on: boolean): Promise<Rig> {
  return makeMachine(on ? { bugs: [bug] } : {});
}

/** Eight pages of which page 3 is special. */
function special(rig: Rig): number {
  const a = rig.map(null, { npages: 8, at: AT });
  for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
  rig.setPte(a + 3, 0x5000 + PTE_PRESENT + PTE_SPECIAL, 0);
  return a;
}

describe('snapshot-ignores-walk', () => {
  test.each([[true, 3, '3VW 1S 4?'], [false, 'EFAULT', '3VW 1S 4-']] as const)('a page that cannot be mirrored (switch %s)', async (on, result, words) => {
    const rig = await withSwitch('snapshot-ignores-walk', on);
    const a = special(rig);
    const call = snap(rig, a, 8);
    expect([call.result, letters(call.words)]).toEqual([result, words]);
    expect(fault(rig, a, 8).result).toBe('EFAULT');
  });
});

describe('fault-wipes-marker', () => {
  test.each([[true, '3VW 5-'], [false, '3VW 1S 4-']] as const)('SPECIAL (switch %s)', async (on, words) => {
    const rig = await withSwitch('fault-wipes-marker', on);
    const call = fault(rig, special(rig), 8);
    expect([call.result, letters(call.words)]).toEqual(['EFAULT', words]);
  });

  test.each([[true, '8-'], [false, '3- 1E 4-']] as const)('ERROR, of a page past the end of a file (switch %s)', async (on, words) => {
    const rig = await withSwitch('fault-wipes-marker', on);
    const a = rig.map(rig.file({ npages: 3 }), { npages: 8, at: AT });
    const call = fault(rig, a, 8);
    expect([call.result, letters(call.words)]).toEqual(['EFAULT', words]);
  });
});

describe('count-stops-at-hole', () => {
  test.each([true, false])('holes at the end of a range (switch %s)', async (on) => {
    const rig = await withSwitch('count-stops-at-hole', on);
    const a = rig.map(null, { npages: 2048, at: AT });
    expect(snap(rig, a, 2048).result).toBe(on ? 0 : 2048);
    rig.touch(a, 'w');
    // An empty pte is counted, the start of the last empty pmd ends it.
    expect(snap(rig, a, 512).result).toBe(512);
    expect(snap(rig, a, 2048).result).toBe(on ? 1536 : 2048);
    rig.touch(a + 1536, 'w');
    expect(snap(rig, a, 2048).result).toBe(2048);
    expect(snap(rig, a + 512, 512).result).toBe(on ? 0 : 512);
  });
});

describe('protnone-valid', () => {
  test.each([[true, '8VW'], [false, '2VW 3- 3VW']] as const)('ptes with a NUMA hint (switch %s)', async (on, words) => {
    const rig = await withSwitch('protnone-valid', on);
    const a = rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
    for (const i of [2, 3, 4]) rig.hintNuma(a + i);
    const call = snap(rig, a, 8);
    expect([call.result, letters(call.words)]).toEqual([8, words]);
    if (on) expect(fault(rig, a, 8, 'w')).toMatchObject({ result: 8, faults: 0 });
  });
});
