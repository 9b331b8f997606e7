/** Both APIs on one address space: the same frames, the same rights, whatever is mapped. */
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { daxFsync, daxPunch, daxTruncate } from '../../../dist/dax/index.js';
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault, modernPfnMask } from '../../../dist/hmm/index.js';
import { mprotect, munmap } from '../../../dist/mm/index.js';
import { VALID, WRITE, callPages, frameOf } from '../../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

interface PageView {
  readonly pfn: number;
  readonly write: boolean;
}

/** What the modern API says: null for no access, or the errno. */
function modernView(rig: Rig, start: number, npages: number, ask: bigint): (PageView | null)[] | string {
  const { mm } = rig;
  const sub = mm.notifiers.insert('view', start, start + npages, function* invalidate(_range, seq) {
    mm.notifiers.setSeq(sub, seq);
    return true;
  });
  const window = rig.platform.arena.window(npages);
  const range = { mm, notifier: sub, seq: 0, start, end: start + npages, words: window.words, out: window.offset, defaultFlags: ask, pfnFlagsMask: 0n };
  rig.run(mm.mmapLock.read(rig.platform.sched));
  const mask = modernPfnMask(rig.platform.profile.hmmOrderShift);
  try {
    // A fault that replaces a page of zeroes invalidates it: the driver comes again.
    let answer: string | null = 'EBUSY';
    while (answer === 'EBUSY') {
      range.seq = rig.run(mm.notifiers.readBegin(sub));
      answer = rig.run(hmmRangeFault(range));
    }
    if (answer !== null) return answer;
    return Array.from(window.words, (word) => {
      expect(word & HMM_PFN_ERROR).toBe(0n);
      return (word & HMM_PFN_VALID) === 0n ? null : { pfn: Number(word & mask), write: (word & HMM_PFN_WRITE) !== 0n };
    });
  } finally {
    mm.mmapLock.readUnlock(rig.platform.sched);
    rig.run(mm.notifiers.remove(sub));
    window.free();
  }
}

function legacyView(rig: Rig, start: number, npages: number, ask: bigint): (PageView | null)[] | string {
  const call = callPages(rig, start, npages, { defaultFlags: ask }, { fault: ask !== 0n });
  if (typeof call.result === 'string') return call.result;
  expect(call.result).toBe(npages);
  return Array.from(call.words, (word) => ((word & VALID) === 0n ? null : { pfn: frameOf(word), write: (word & WRITE) !== 0n }));
}

const NPAGES = 1040;
const AT = 2 ** 20;

const step = fc.record({
  kind: fc.constantFrom('touch', 'touch', 'touch', 'fsync', 'punch', 'protect', 'unmap', 'allow', 'legacy', 'modern'),
  page: fc.nat(NPAGES - 1),
  npages: fc.integer({ min: 1, max: 700 }),
  write: fc.boolean(),
});

test('one address space, seen by both after each of many changes', { timeout: 60_000 }, async () => {
  const rig = await makeMachine({ arenaBytes: 128 * 2 ** 20 });
  fc.assert(
    fc.property(fc.constantFrom(1, 512), fc.array(step, { maxLength: 12 }), (extentPages, steps) => {
      const file = rig.file({ npages: NPAGES, extentPages: extentPages as 1 | 512 });
      const a = rig.map(file, { npages: NPAGES, at: AT });
      try {
        for (const { kind, page, npages, write } of steps) {
          const n = Math.min(npages, NPAGES - page);
          const ask = write ? [VALID | WRITE, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE] as const : [VALID, HMM_PFN_REQ_FAULT] as const;
          const vma = rig.mm.vmas.at(a + page);
          if (kind === 'touch' && vma !== null && vma.has(write ? 2 : 1)) rig.touch(a + page, write ? 'w' : 'r');
          if (kind === 'fsync') rig.run(daxFsync(file));
          if (kind === 'punch') rig.run(daxPunch(file, page * 4096, n * 4096));
          if ((kind === 'protect' || kind === 'allow') && allMapped(rig, a + page, n)) rig.run(mprotect(rig.mm, a + page, n, kind === 'protect' ? 1 : 3));
          if (kind === 'unmap') rig.run(munmap(rig.mm, a + page, n));
          if (kind === 'legacy') legacyView(rig, a + page, n, ask[0]);
          if (kind === 'modern') modernView(rig, a + page, n, ask[1]);
        }
        for (let vma = rig.mm.vmas.first(); vma !== null; vma = rig.mm.vmas.next(vma)) {
          const { start, npages: length } = vma;
          expect(legacyView(rig, start, length, 0n)).toEqual(modernView(rig, start, length, 0n));
          // Who asks second finds what the first has faulted in, and must not change it.
          const write = vma.has(2) && length % 2 === 1;
          const first = modernView(rig, start, length, write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT);
          expect(legacyView(rig, start, length, write ? VALID | WRITE : VALID)).toEqual(first);
        }
      } finally {
        rig.run(munmap(rig.mm, a, NPAGES));
        rig.run(daxTruncate(file, 0));
      }
    }),
    { numRuns: 40, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true },
  );
});

test.each([0, 1, 2])('device DAX of level %i', async (level) => {
  const rig = await makeMachine();
  const npages = 512 ** level;
  const a = rig.map(rig.daxDevice(npages, level), { npages });
  const looked = Math.min(npages, 3000);
  expect(legacyView(rig, a, looked, VALID)).toEqual(modernView(rig, a, looked, HMM_PFN_REQ_FAULT));
  expect(legacyView(rig, a, looked, 0n)).toEqual(modernView(rig, a, looked, 0n));
});

test('a read-only area: both refuse to make it writable', async () => {
  const rig = await makeMachine();
  const a = rig.map(rig.file({ npages: 8 }), { npages: 8, prot: 'r' });
  expect(legacyView(rig, a, 8, VALID | WRITE)).toBe('EPERM');
  expect(modernView(rig, a, 8, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)).toBe('EPERM');
});

function allMapped(rig: Rig, start: number, npages: number): boolean {
  for (let at = start; at < start + npages; ) {
    const vma = rig.mm.vmas.at(at);
    if (vma === null) return false;
    at = vma.end;
  }
  return true;
}
