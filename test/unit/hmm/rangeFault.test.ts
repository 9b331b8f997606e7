/** hmm_range_fault(), the modern API: what each kind of page answers, and the sequence protocol around it. */
import { afterEach, describe, expect, test } from 'vitest';
import { PTE_PRESENT, PTE_SPECIAL, PTE_USER } from '../../../dist/abi.js';
import { daxFsync } from '../../../dist/dax/index.js';
import {
  HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault, modernPfnMask, type HmmErrno, type HmmRange,
} from '../../../dist/hmm/index.js';
import { madviseDontneed, mprotect, munmap, type IntervalSub, type NotifierRange } from '../../../dist/mm/index.js';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;
const GIB = 2 ** 18;
const F = HMM_PFN_REQ_FAULT;
const W = HMM_PFN_REQ_WRITE;
/** What stands in a word before the call, besides its request. */
const UNTOUCHED = 0x7777n;
const POISON = { lo: 0, hi: 0xb8000000 };

interface Setup {
  readonly defaultFlags?: bigint;
  readonly mask?: bigint;
  readonly requests?: Readonly<Record<number, bigint>>;
}

interface Answer {
  readonly errno: HmmErrno | null;
  readonly words: BigUint64Array;
  readonly faults: number;
}

function subscribe(rig: Rig, start: number, end: number): IntervalSub {
  const sub: IntervalSub = rig.mm.notifiers.insert('range', start, end, function* invalidate(_range, seq) {
    rig.mm.notifiers.setSeq(sub, seq);
    return true;
  });
  return sub;
}

/** One call with a fresh sequence number. */
function call(rig: Rig, start: number, npages: number, setup: Setup = {}): Answer {
  const { mm } = rig;
  const sub = subscribe(rig, start, start + npages);
  const window = rig.platform.arena.window(npages);
  window.words.fill(UNTOUCHED);
  for (const [page, request] of Object.entries(setup.requests ?? {})) window.words[Number(page)] = UNTOUCHED | request;
  const range: HmmRange = {
    mm, notifier: sub, seq: rig.run(mm.notifiers.readBegin(sub)), start, end: start + npages, words: window.words, out: window.offset,
    defaultFlags: setup.defaultFlags ?? 0n, pfnFlagsMask: setup.mask ?? 0n,
  };
  const before = rig.platform.counts.hmmFaults;
  rig.run(mm.mmapLock.read(rig.platform.sched));
  try {
    const errno = rig.run(hmmRangeFault(range));
    return { errno, words: window.words.slice(), faults: rig.platform.counts.hmmFaults - before };
  } finally {
    mm.mmapLock.readUnlock(rig.platform.sched);
    rig.run(mm.notifiers.remove(sub));
    window.free();
  }
}

const snapshot = (rig: Rig, start: number, npages: number): Answer => call(rig, start, npages);
const read = (rig: Rig, start: number, npages: number): Answer => call(rig, start, npages, { defaultFlags: F });
const write = (rig: Rig, start: number, npages: number): Answer => call(rig, start, npages, { defaultFlags: F | W });

/** '3VW 1- 2E': V valid, W write, E error, - zero, + a frame without VALID, ? as the caller left it. */
function letters(words: BigUint64Array): string {
  const runs: { n: number; f: string }[] = [];
  for (const word of words) {
    const flags = `${(word & HMM_PFN_VALID) !== 0n ? 'V' : ''}${(word & HMM_PFN_WRITE) !== 0n ? 'W' : ''}${(word & HMM_PFN_ERROR) !== 0n ? 'E' : ''}`;
    const f = (word & 0xffffn) === UNTOUCHED && word < 1n << 56n ? '?' : (word & ~(F | W)) === UNTOUCHED ? `?${flags}` : flags || (word === 0n ? '-' : '+');
    const last = runs.at(-1);
    if (last?.f === f) last.n++;
    else runs.push({ n: 1, f });
  }
  return runs.map(({ n, f }) => `${n}${f}`).join(' ');
}

function orderOf(rig: Rig, word: bigint): number {
  return Number((word >> BigInt(rig.platform.profile.hmmOrderShift)) & 31n);
}

function pfnOf(rig: Rig, word: bigint): number {
  return Number(word & modernPfnMask(rig.platform.profile.hmmOrderShift));
}

function anon(rig: Rig, npages = 8): number {
  const a = rig.map(null, { npages, at: AT });
  for (let i = 0; i < npages; i++) rig.touch(a + i, 'w');
  return a;
}

describe('where there is no memory to mirror', () => {
  test('no area: EFAULT when asked for, ERROR when not', async () => {
    const rig = await makeMachine();
    expect([read(rig, AT, 4).errno, letters(read(rig, AT, 4).words)]).toEqual(['EFAULT', '4?']);
    expect([snapshot(rig, AT, 4).errno, letters(snapshot(rig, AT, 4).words)]).toEqual([null, '4E']);
    const only = call(rig, AT, 4, { mask: F, requests: { 3: F } });
    expect(only.errno).toBe('EFAULT');
  });

  test('a gap between areas is ERROR, what lies around it is answered', async () => {
    const rig = await makeMachine();
    const a = anon(rig, 12);
    rig.run(munmap(rig.mm, a + 4, 4));
    expect(letters(snapshot(rig, a, 12).words)).toBe('4VW 4E 4VW');
    const asked = call(rig, a, 12, { mask: F, requests: { 0: F, 11: F } });
    expect([asked.errno, letters(asked.words)]).toEqual([null, '4VW 4E 4VW']);
    const failed = read(rig, a, 12);
    expect([failed.errno, letters(failed.words)]).toEqual(['EFAULT', '4VW 8?']);
  });

  test.each([['without read access', 0], ['only for writing', 2], ['only for execution', 4]])('an area %s', async (_name, prot) => {
    const rig = await makeMachine();
    const a = anon(rig);
    rig.run(mprotect(rig.mm, a + 2, 2, prot));
    expect(letters(snapshot(rig, a, 8).words)).toBe('2VW 2E 4VW');
    for (const answer of [read(rig, a, 8), write(rig, a, 8)]) expect([answer.errno, letters(answer.words)]).toEqual(['EFAULT', '2VW 6?']);
  });
});

describe('4K pages', () => {
  test('a hole: nothing when not asked for, faulted when it is', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    rig.run(madviseDontneed(rig.mm, a + 2, 2));
    expect(letters(snapshot(rig, a, 8).words)).toBe('2VW 2- 4VW');
    const faulted = write(rig, a, 8);
    expect([faulted.errno, letters(faulted.words)]).toEqual([null, '8VW']);
  });

  test('the page of zeroes is an ordinary page for reading, and faulted for writing', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4, at: AT });
    rig.touch(a + 1, 'r');
    const looked = snapshot(rig, a, 4);
    expect(letters(looked.words)).toBe('1- 1V 2-');
    expect(pfnOf(rig, looked.words[1] as bigint)).toBe(rig.platform.ram.zeroPfn);
    expect(read(rig, a + 1, 1)).toMatchObject({ errno: null, faults: 0 });
    // The copy invalidates the page of zeroes: the sequence is no longer good.
    expect(write(rig, a + 1, 1).errno).toBe('EBUSY');
    expect(letters(write(rig, a + 1, 1).words)).toBe('1VW');
  });

  test('another special page: EFAULT when asked for, ERROR when not', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    rig.setPte(a + 2, 0x5000 + PTE_PRESENT + PTE_USER + PTE_SPECIAL, 0);
    expect(letters(snapshot(rig, a, 8).words)).toBe('2VW 1E 5VW');
    const asked = read(rig, a, 8);
    expect([asked.errno, letters(asked.words)]).toEqual(['EFAULT', '2VW 6?']);
    rig.setPte(a + 2, 0, 0);
  });

  test('what is not present and no page to come: EFAULT when asked for, 0 when not', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    rig.setPte(a + 2, POISON.lo, POISON.hi);
    expect(letters(snapshot(rig, a, 8).words)).toBe('2VW 1- 5VW');
    expect([read(rig, a, 8).errno, letters(read(rig, a, 8).words)]).toEqual(['EFAULT', '2VW 6?']);
    rig.setPte(a + 2, 0, 0);
  });

  test('a NUMA hint is not valid: its frame without VALID when not asked for', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    const pfn = pfnOf(rig, snapshot(rig, a, 8).words[2] as bigint);
    rig.hintNuma(a + 2);
    const looked = snapshot(rig, a, 8);
    expect(letters(looked.words)).toBe('2VW 1+ 5VW');
    expect(looked.words[2]).toBe(BigInt(pfn));
  });

  test('a read-only area: EPERM for a write, only where write is asked for', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    rig.run(mprotect(rig.mm, a + 4, 4, 1));
    expect(letters(read(rig, a, 8).words)).toBe('4VW 4V');
    expect([write(rig, a, 8).errno, letters(write(rig, a, 8).words)]).toEqual(['EPERM', '4VW 4?']);
    const first = call(rig, a, 8, { mask: F | W, requests: { 0: F | W, 4: F } });
    expect([first.errno, letters(first.words)]).toEqual([null, '4VW 4V']);
    const last = call(rig, a, 8, { mask: F | W, requests: { 0: F | W, 5: F | W } });
    expect([last.errno, letters(last.words)]).toEqual(['EPERM', '4VW 1V 1?VW 2?']);
  });

  test('a page that cannot be had: EFAULT, what was before is answered, requests stand', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.file({ npages: 3 }), { npages: 6, at: AT });
    read(rig, a, 3);
    const answer = call(rig, a, 6, { mask: F | W, requests: { 0: F, 4: F } });
    expect([answer.errno, letters(answer.words)]).toEqual(['EFAULT', '3V 1- 1?V 1?']);
  });
});

describe('larger leaves', () => {
  test.each(['v6.1', 'v6.12'])('carry their order in every word, whatever part is asked for (%s)', async (profile) => {
    const rig = await makeMachine({ profile });
    const file = rig.map(rig.file({ npages: 1024 }), { npages: 1024, at: AT });
    const giant = rig.map(rig.daxDevice(GIB, 2), { npages: GIB, at: AT + GIB });
    rig.touch(file, 'w');
    rig.touch(giant, 'w');
    const small = anonAt(rig, AT + 3 * GIB);
    const two = snapshot(rig, file + 100, 30).words;
    const one = snapshot(rig, giant + 5000, 30).words;
    expect([...two].map((word) => orderOf(rig, word))).toEqual(Array.from({ length: 30 }, () => 9));
    expect([...one].map((word) => orderOf(rig, word))).toEqual(Array.from({ length: 30 }, () => 18));
    expect(orderOf(rig, snapshot(rig, small, 1).words[0] as bigint)).toBe(0);
    expect([...one].every((word, i) => pfnOf(rig, word) === pfnOf(rig, one[0] as bigint) + i)).toBe(true);
    expect(letters(two)).toBe('30VW');
    expect(letters(one)).toBe('30VW');
  });

  test('a 1G leaf without write is faulted, whole, with no lock held', async () => {
    const rig = await makeMachine({ profile: 'lab' });
    const file = rig.file({ npages: GIB, extentPages: 262144, hole: true, fs: rig.fileSystem(3 * GIB) });
    const a = rig.map(file, { npages: GIB, at: AT });
    rig.touch(a, 'w');
    rig.run(daxFsync(file));
    expect(rig.entry(a).level).toBe(2);
    expect(letters(snapshot(rig, a, 8).words)).toBe('8V');
    const answer = write(rig, a + 4, 8);
    expect([answer.errno, letters(answer.words), orderOf(rig, answer.words[0] as bigint)]).toEqual([null, '8VW', 18]);
  });

  test('not present: EFAULT when asked for, ERROR when not', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.file({ npages: 1024 }), { npages: 1024, at: AT });
    rig.touch(a, 'w');
    rig.touch(a + 512, 'w');
    rig.entry(a + 512);
    rig.mm.pageTable.setRaw(POISON.lo, POISON.hi);
    expect(letters(snapshot(rig, a, 1024).words)).toBe('512VW 512E');
    expect([read(rig, a, 1024).errno, letters(read(rig, a, 1024).words)]).toEqual(['EFAULT', '512VW 512?']);
    rig.entry(a + 512);
    rig.mm.pageTable.setRaw(0, 0);
  });

  test('PROT_NONE by a hint: frames without VALID and without order', async () => {
    const rig = await makeMachine();
    const a = rig.map(rig.file({ npages: 512 }), { npages: 512, at: AT });
    rig.touch(a, 'w');
    const before = snapshot(rig, a, 512).words;
    rig.hintNuma(a);
    const { words } = snapshot(rig, a + 7, 10);
    expect([...words]).toEqual(Array.from({ length: 10 }, (_, i) => BigInt(pfnOf(rig, before[7 + i] as bigint))));
  });
});

describe('requests', () => {
  test('flags that neither default nor mask let through are no request: the range is only looked at', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 4, at: AT });
    for (const setup of [{ mask: W, requests: { 0: F | W } }, { defaultFlags: W, mask: W, requests: { 1: F | W } }]) {
      expect(call(rig, a, 4, setup)).toMatchObject({ errno: null, faults: 0 });
    }
    expect(letters(call(rig, a, 4, { mask: W, requests: { 0: F | W } }).words)).toBe('4-');
  });

  test('by page: a hole of which one page is asked for is brought in from its first page on', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 8, at: AT });
    const answer = call(rig, a, 8, { mask: F | W, requests: { 5: F | W } });
    expect([answer.errno, answer.faults, letters(answer.words)]).toEqual([null, 8, '8VW']);
  });

  test('by page: beside entries, from the page that asks to the end of its 2M', async () => {
    const rig = await makeMachine();
    const a = rig.map(null, { npages: 1024, at: AT });
    rig.touch(a, 'w');
    rig.touch(a + 512, 'w');
    const answer = call(rig, a, 1024, { mask: F | W, requests: { 508: F | W } });
    expect([answer.errno, answer.faults, letters(answer.words)]).toEqual([null, 4, '1VW 507- 5VW 511-']);
  });
});

describe('the sequence protocol', () => {
  function open(rig: Rig, start: number, end: number): { end: () => void } {
    const range: NotifierRange = { event: 'CLEAR', start, end, blockable: true, owner: null };
    expect(rig.run(rig.mm.notifiers.start(range))).toBe(true);
    return { end: () => rig.mm.notifiers.end(range) };
  }

  test('EBUSY at once when something was invalidated since the number was read; the words are untouched', async () => {
    const rig = await makeMachine();
    const a = anon(rig);
    const sub = subscribe(rig, a, a + 8);
    const window = rig.platform.arena.window(8);
    window.words.fill(UNTOUCHED);
    const range: HmmRange = { mm: rig.mm, notifier: sub, seq: rig.run(rig.mm.notifiers.readBegin(sub)), start: a, end: a + 8, words: window.words, out: window.offset, defaultFlags: F, pfnFlagsMask: 0n };
    open(rig, a + 7, a + 9).end();
    expect(rig.run(hmmRangeFault(range))).toBe('EBUSY');
    expect(letters(window.words)).toBe('8?');
    range.seq = rig.run(rig.mm.notifiers.readBegin(sub));
    open(rig, a + 8, a + 9).end();
    expect(rig.run(hmmRangeFault(range))).toBeNull();
    expect(letters(window.words)).toBe('8VW');
    window.free();
  });

  test('read_begin waits for the end of what overlaps, and the number is odd', async () => {
    const rig = await makeMachine();
    const { notifiers } = rig.mm;
    const sub = subscribe(rig, 16, 32);
    const other = subscribe(rig, 64, 80);
    const first = rig.run(notifiers.readBegin(sub));
    expect(first % 2).toBe(1);
    const inFlight = open(rig, 0, 17);
    expect(notifiers.readRetry(sub, first)).toBe(true);
    expect(rig.run(notifiers.readBegin(other)) % 2).toBe(1);
    expect(() => rig.run(notifiers.readBegin(sub))).toThrow(/EDEADLK/);
    inFlight.end();
    const second = rig.run(notifiers.readBegin(sub));
    expect(second % 2).toBe(1);
    expect(second).not.toBe(first);
    expect(notifiers.readRetry(sub, second)).toBe(false);
    expect(notifiers.readRetry(other, rig.run(notifiers.readBegin(other)))).toBe(false);
  });

  test('a subscription inserted during an invalidation that matters joins at its end, and waits meanwhile', async () => {
    const rig = await makeMachine();
    const { notifiers } = rig.mm;
    subscribe(rig, 16, 32);
    const inFlight = open(rig, 16, 32);
    const late = subscribe(rig, 100, 110);
    expect(late.deferred).toBe('insert');
    expect(() => rig.run(notifiers.readBegin(late))).toThrow(/EDEADLK/);
    inFlight.end();
    expect(late.deferred).toBeNull();
    const seq = rig.run(notifiers.readBegin(late));
    open(rig, 105, 106).end();
    expect(notifiers.readRetry(late, seq)).toBe(true);
  });

  test('removing one that is still to join takes it off the list at once', async () => {
    const rig = await makeMachine();
    const { notifiers } = rig.mm;
    subscribe(rig, 16, 32);
    const inFlight = open(rig, 16, 32);
    const late = subscribe(rig, 16, 20);
    rig.run(notifiers.remove(late));
    inFlight.end();
    expect(late.node).toBeNull();
    open(rig, 16, 20).end();
    expect(late.seq % 2).toBe(1);
  });

  test('removing one during an invalidation that matters waits for its end', async () => {
    const rig = await makeMachine();
    const { notifiers } = rig.mm;
    const { sched } = rig.platform;
    const sub = subscribe(rig, 16, 32);
    const inFlight = open(rig, 16, 32);
    sched.spawn('end', (function* end() {
      yield* sched.sleep(1000);
      inFlight.end();
    })());
    rig.run(notifiers.remove(sub));
    expect(sched.nowNs).toBe(1000);
    expect(sub.node).toBeNull();
    rig.run(notifiers.remove(sub));
  });
});

function anonAt(rig: Rig, at: number): number {
  const a = rig.map(null, { npages: 1, at });
  rig.touch(a, 'w');
  return a;
}
