/** What each kind of entry comes to in a walk of the 2019 API: as it was meant (all switches off), and as v5.2 does it. */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_PRESENT, PTE_PROTNONE, PTE_PSE, PTE_SPECIAL, PTE_USER } from '../../../dist/abi.js';
import { madviseDontneed, mprotect, munmap } from '../../../dist/mm/index.js';
import { VALID, WRITE, callPages, fault, frameOf, letters, snap } from '../../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

/** Page numbers on a 1 GiB boundary, each test's areas apart. */
const AT = 2 ** 20;
const GIB = 2 ** 18;
/** A pte that is neither present nor PROT_NONE: a hwpoison entry has its type in the top bits. */
const POISON = { lo: 0, hi: 0xb8000000 };

interface Row {
  readonly name: string;
  /** makes 8 pages of which page 2 is the odd one; returns the first */
  readonly make: (rig: Rig) => number;
  /** [result, words] of a snapshot and of a read fault, as meant and as v5.2 does it */
  readonly meant: readonly [snap: readonly [unknown, string], fault: readonly [unknown, string]];
  readonly v52: readonly [snap: readonly [unknown, string], fault: readonly [unknown, string]];
}

function anon(rig: Rig): number {
  const a = rig.map(null, { npages: 8, at: AT });
  for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
  return a;
}

function daxSmall(rig: Rig): number {
  const a = rig.map(rig.file({ npages: 8 }), { npages: 8, at: AT });
  for (let i = 0; i < 8; i++) rig.touch(a + i, i % 2 === 0 ? 'w' : 'r');
  return a;
}

const ROWS: readonly Row[] = [
  {
    name: 'present anonymous pages',
    make: anon,
    meant: [[8, '8VW'], [8, '8VW']],
    v52: [[8, '8VW'], [8, '8VW']],
  },
  {
    name: 'a pte that is none',
    make: (rig) => {
      const a = anon(rig);
      rig.setPte(a + 2, 0, 0);
      return a;
    },
    // A read fault of anonymous memory maps the page of zeroes.
    meant: [[8, '2VW 1- 5VW'], [8, '2VW 1V 5VW']],
    v52: [[8, '2VW 1- 5VW'], ['EFAULT', '2VW 6-']],
  },
  {
    name: 'devmap ptes of a live pagemap',
    make: daxSmall,
    meant: [[8, '1VW 1V 1VW 1V 1VW 1V 1VW 1V'], [8, '1VW 1V 1VW 1V 1VW 1V 1VW 1V']],
    v52: [[8, '1VW 1V 1VW 1V 1VW 1V 1VW 1V'], [8, '1VW 1V 1VW 1V 1VW 1V 1VW 1V']],
  },
  {
    name: 'the zero page of anonymous memory',
    make: (rig) => {
      const a = anon(rig);
      rig.run(madviseDontneed(rig.mm, a + 2, 1));
      rig.touch(a + 2, 'r');
      return a;
    },
    meant: [[8, '2VW 1V 5VW'], [8, '2VW 1V 5VW']],
    v52: [[2, '2VW 1S 5?'], ['EFAULT', '2VW 6-']],
  },
  {
    name: 'a special pte that is no zero page',
    make: (rig) => {
      const a = anon(rig);
      rig.setPte(a + 2, 0x5000 + PTE_PRESENT + PTE_USER + PTE_SPECIAL, 0);
      return a;
    },
    meant: [['EFAULT', '2VW 1S 5-'], ['EFAULT', '2VW 1S 5-']],
    v52: [[2, '2VW 1S 5?'], ['EFAULT', '2VW 6-']],
  },
  {
    name: 'a poisoned or unknown pte that is not present',
    make: (rig) => {
      const a = anon(rig);
      rig.setPte(a + 2, POISON.lo, POISON.hi);
      return a;
    },
    meant: [['EFAULT', '2VW 1E 5-'], ['EFAULT', '2VW 1E 5-']],
    v52: [[2, '2VW 1E 5?'], ['EFAULT', '2VW 6-']],
  },
];

describe.each(ROWS)('$name', ({ make, meant, v52 }) => {
  test.each([['as meant', 'v6.1', meant], ['by v5.2', 'v5.2', v52]] as const)('%s', async (_how, profile, [looked, faulted]) => {
    const rig = await makeMachine({ profile });
    const a = make(rig);
    const s = snap(rig, a, 8);
    expect([s.result, letters(s.words)], 'snapshot').toEqual(looked);
    const f = fault(rig, a, 8);
    expect([f.result, letters(f.words)], 'fault').toEqual(faulted);
  });
});

describe('a NUMA hint (a pte of PROT_NONE in a readable area)', () => {
  async function hinted(profile: string): Promise<{ rig: Rig; a: number; frames: number[] }> {
    const rig = await makeMachine({ profile });
    const a = anon(rig);
    const frames = [...snap(rig, a, 8).words].map(frameOf);
    for (const i of [2, 3, 7]) rig.hintNuma(a + i);
    return { rig, a, frames };
  }

  test('is present to v5.2, with the frame that is there, and never faulted', async () => {
    const { rig, a, frames } = await hinted('v5.2');
    for (const call of [snap(rig, a, 8), fault(rig, a, 8, 'r'), fault(rig, a, 8, 'w')]) {
      expect(call).toMatchObject({ result: 8, faults: 0 });
      expect(letters(call.words)).toBe('8VW');
      expect([...call.words].map(frameOf)).toEqual(frames);
    }
  });

  test('is nothing where it was meant to be: NONE, and faulted when asked for', async () => {
    const { rig, a } = await hinted('v6.1');
    const s = snap(rig, a, 8);
    expect([s.result, letters(s.words)]).toEqual([8, '2VW 2- 3VW 1-']);
    const only = callPages(rig, a, 8, { pfnFlagsMask: VALID | WRITE, requests: { 0: VALID, 6: VALID | WRITE } }, { fault: true });
    expect([only.result, only.faults, letters(only.words)]).toEqual([8, 0, '2VW 2- 3VW 1-']);
  });

  test('of a devmap page needs its pagemap like a present one', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = daxSmall(rig);
    for (const i of [0, 4, 7]) rig.hintNuma(a + i);
    expect(letters(snap(rig, a, 8).words)).toBe('1VW 1V 1VW 1V 1VW 1V 1VW 1V');
    expect(rig.pgmapRefs()).toBe(0);
  });
});

describe('larger entries', () => {
  test.each(['v6.1', 'v5.2'])('a 2M leaf of a DAX file: a word for each page, also of a part (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024, at: AT });
    rig.touch(a, 'w');
    rig.touch(a + 512, 'r');
    const whole = snap(rig, a, 1024);
    expect([whole.result, letters(whole.words)]).toEqual([1024, '512VW 512V']);
    const first = frameOf(whole.words[0] as bigint);
    expect([...whole.words].every((word, i) => frameOf(word) === first + i)).toBe(true);
    const part = snap(rig, a + 500, 20);
    expect([part.result, letters(part.words)]).toEqual([20, '12VW 8V']);
    expect(frameOf(part.words[19] as bigint)).toBe(first + 519);
  });

  test.each(['v6.1', 'v5.2'])('a 1G leaf: a word for each page, from any page on (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const a = rig.map(rig.daxDevice(GIB, 2), { npages: GIB, at: AT });
    rig.touch(a + 9, 'r');
    const base = rig.platform.pgmaps.all[0]?.basePfn as number;
    const call = fault(rig, a + 5000, 3000, 'w');
    expect([call.result, call.faults, letters(call.words)]).toEqual([3000, 0, '3000VW']);
    expect(frameOf(call.words[0] as bigint)).toBe(base + 5000);
    expect(frameOf(call.words[2999] as bigint)).toBe(base + 7999);
  });

  test('a hole faults every page of it, and in v5.2 one page that asks has the whole hole faulted', async () => {
    for (const [profile, want, faults] of [['v6.1', '5- 1VW 506- 1VW 1535-', 2], ['v5.2', '2048VW', 2048]] as const) {
      const rig = await makeMachine({ profile });
      const a = rig.map(null, { npages: 2048, at: AT });
      const call = callPages(rig, a, 2048, { pfnFlagsMask: VALID | WRITE, requests: { 5: VALID | WRITE, 512: VALID | WRITE } }, { fault: true });
      expect([call.result, call.faults, letters(call.words)], profile).toEqual([2048, faults, want]);
    }
  });

  test('in a pte table v5.2 faults from the page that asks to the end of its 2M, with that page\'s rights', async () => {
    const ask = { pfnFlagsMask: VALID | WRITE, requests: { 3: VALID | WRITE, 5: VALID } };
    for (const [profile, want, faults] of [['v6.1', '1VW 2- 1VW 1- 1V 506-', 2], ['v5.2', '1VW 2- 509VW', 509]] as const) {
      const rig = await makeMachine({ profile });
      const a = rig.map(null, { npages: 512, at: AT });
      rig.touch(a, 'w');
      const call = callPages(rig, a, 512, ask, { fault: true });
      expect([call.result, call.faults, letters(call.words)], profile).toEqual([512, faults, want]);
    }
  });

  test.each(['v6.1', 'v5.2'])('a pmd of PROT_NONE is a hole (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const file = rig.file({ npages: 1024 });
    const a = rig.map(file, { npages: 1024, at: AT });
    rig.touch(a, 'w');
    rig.touch(a + 512, 'w');
    rig.hintNuma(a + 512);
    expect(rig.entry(a + 512).lo & (PTE_PROTNONE | PTE_PRESENT | PTE_PSE)).toBe(PTE_PROTNONE | PTE_PSE);
    const call = snap(rig, a, 1024);
    expect([call.result, letters(call.words)]).toEqual([profile === 'v5.2' ? 512 : 1024, '512VW 512-']);
    rig.run(munmap(rig.mm, a, 1024));
  });

  test.each(['v6.1', 'v5.2'])('a pmd that is not present otherwise is ERROR, and the walk goes on (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const file = rig.file({ npages: 1536 });
    const a = rig.map(file, { npages: 1536, at: AT });
    for (const i of [0, 512, 1024]) rig.touch(a + i, 'w');
    rig.entry(a + 512);
    rig.mm.pageTable.setRaw(POISON.lo, POISON.hi);
    for (const call of [snap(rig, a, 1536), fault(rig, a, 1536, 'w')]) {
      expect([call.result, letters(call.words)]).toEqual([1536, '512VW 512E 512VW']);
    }
    rig.entry(a + 512);
    rig.mm.pageTable.setRaw(0, 0);
  });

  test.each(['v6.1', 'v5.2'])('a 1G entry that is not present is a hole (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const a = rig.map(rig.daxDevice(GIB, 2), { npages: GIB, at: AT });
    rig.touch(a, 'w');
    rig.hintNuma(a);
    const call = snap(rig, a, 1024);
    expect([call.result, letters(call.words)]).toEqual([profile === 'v5.2' ? 0 : 1024, '1024-']);
  });
});

describe('areas in a row', () => {
  test.each(['v6.1', 'v5.2'])('a range over several areas and kinds of page is walked in one call (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const file = rig.file({ npages: 512 });
    const a = rig.map(file, { npages: 512, at: AT });
    const b = rig.map(null, { npages: 4, at: AT + 512 });
    rig.touch(a, 'w');
    for (let i = 0; i < 4; i++) rig.touch(b + i, 'w');
    rig.run(mprotect(rig.mm, b + 1, 2, 1));
    const call = fault(rig, a, 516, 'r');
    expect([call.result, letters(call.words)]).toEqual([516, '513VW 2V 1VW']);
  });

  test('a failing area says what it failed with only where it is meant to: v5.2 goes on with the next', async () => {
    for (const [profile, want] of [['v6.1', ['EFAULT', '1VW 1S 6-']], ['v5.2', [8, '1VW 1S 2? 4V']]] as const) {
      const rig = await makeMachine({ profile });
      const a = anon(rig);
      rig.run(mprotect(rig.mm, a + 4, 4, 5));
      rig.run(mprotect(rig.mm, a + 4, 4, 7));
      rig.setPte(a + 1, 0x5000 + PTE_PRESENT + PTE_USER + PTE_SPECIAL, 0);
      const call = snap(rig, a, 8);
      expect([call.result, letters(call.words)], profile).toEqual(want);
    }
  });

  test('a gap below an area is a hole to a snapshot, and cannot be faulted', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4, at: AT });
    const b = rig.map(null, { npages: 4, at: AT + 8 });
    rig.touch(a, 'w');
    rig.touch(b, 'w');
    const s = snap(rig, a + 4, 8);
    expect([s.result, letters(s.words)]).toEqual([8, '4- 1VW 3-']);
    const f = fault(rig, a + 4, 8, 'w');
    expect([f.result, letters(f.words)]).toEqual(['EFAULT', '1E 7-']);
    const ask = callPages(rig, a + 4, 8, { pfnFlagsMask: VALID | WRITE, requests: { 5: VALID | WRITE } }, { fault: true });
    expect([ask.result, letters(ask.words)]).toEqual([8, '4- 2VW 2-']);
  });

  test('a range that ends in a gap: v5.2 counts to the start of the last entry above it, a 1G one or, where no table is, a larger', async () => {
    for (const touched of [false, true]) {
      const rig = await makeMachine({ profile: 'v5.2' });
      rig.map(null, { npages: 1, at: AT });
      rig.map(null, { npages: 1, at: AT + 3 * GIB + 8 });
      if (touched) rig.touch(AT, 'w');
      // From 4 pages below the first boundary on: three pieces, or one.
      const call = snap(rig, AT + GIB - 4, 2 * GIB + 8, {}, { once: true });
      expect(call.result).toBe(touched ? 2 * GIB + 4 : 0);
    }
  });
});
