/**
 * Calls of HMM's that are under way, and what is asked of their answers (mm/hmm.c: the principles of hmm_range_fault(), for both APIs).
 *
 * While nothing was invalidated in the range since the call began, a call that succeeds has counted the whole range, and
 * - a word that is VALID has the CPU's frame, and is WRITE only where the CPU may write;
 * - a page that was asked for is VALID, and WRITE where that was asked for;
 * - a word that is not VALID is one of the values for that, and not what the caller left there; where no entry has changed since the call
 *   began, it stands for a page that is not there;
 * - nobody's pages were faulted but those that were asked for (2019: today's kernels fault on to the end of the 2 MiB).
 * One that fails leaves the word that names the error, with nothing behind it; with `block`, mmap_lock is held (2019). Today's refuses no
 * range of which nothing was asked for.
 */
import { HDR_TABLES_CHANGED, PMD_PAGES } from '../abi.ts';
import type { MachineEvent, RangeCall, RangeReturn } from '../events/events.ts';
import { VM_HUGETLB, type Mm } from '../mm/index.ts';
import type { Task } from '../sched/index.ts';
import { addrOf, alignDown, hex, type Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt } from './rights.ts';
import type { Looked } from './rules.ts';
import { WordReader, type Wrong } from './words.ts';

interface OpenCall {
  readonly call: RangeCall;
  readonly task: Task;
  /** the words as they asked; null where they do not count */
  readonly asked: BigUint64Array | null;
  readonly tablesChanged: number;
  /** something of the range was invalidated meanwhile */
  disturbed: boolean;
}

/** So many of one call's words are told of. */
const FINDINGS_MAX = 4;

const WORDS: Readonly<Record<Wrong, readonly [what: string, missing: string]>> = {
  frame: ['is VALID, with a frame that the CPU does not have there', 'the word as the page table has it'],
  rights: ['is WRITE, where the CPU may only read', 'WRITE where the CPU may write, and nowhere else'],
  absent: ['was asked for, and is not VALID', 'the fault of what is asked for; or an error'],
  readOnly: ['was asked for writing, and is not WRITE', 'the write fault that was asked for; or an error'],
  untouched: ['is as the caller left it', 'the value for a page that is not there'],
  hidden: ['says that nothing is there', 'the page that the CPU has there'],
};

export class RangeCalls {
  readonly #report: Report;
  readonly #looked: Looked;
  #open: OpenCall[] = [];

  constructor(report: Report, looked: Looked) {
    this.#report = report;
    this.#looked = looked;
  }

  /** Is one under way? */
  get any(): boolean {
    return this.#open.length > 0;
  }

  /** `inFlight`: an invalidation that touches the range is. */
  called(mm: Mm, call: RangeCall, inFlight: boolean): void {
    const { arena, sched } = mm.platform;
    const task = sched.current;
    if (this.#open.length > 0) this.#open = this.#open.filter((one) => one.task !== task); // one that threw never returned
    const asked = call.pfnFlagsMask === 0n ? null : call.words.slice(0, (call.end - call.start) / call.pagesPerWord);
    this.#open.push({ call, task, asked, tablesChanged: arena.u32[HDR_TABLES_CHANGED >>> 2] as number, disturbed: inFlight });
  }

  invalidated(mm: number, start: Vpn, end: Vpn): void {
    for (const one of this.#open) if (one.call.mm === mm && start < one.call.end && one.call.start < end) one.disturbed = true;
  }

  /** handle_mm_fault() was called: by a call of 2019 for a page that it was asked for, or of which a huge page was. */
  faulted(mm: Mm, { vpn }: Extract<MachineEvent, { type: 'fault' }>): void {
    const { current } = mm.platform.sched;
    const one = this.#open.find(({ task }) => task === current);
    if (one === undefined || one.asked === null || one.call.mm !== mm.id || one.call.api !== '2019') return;
    const { call, asked } = one;
    if (vpn < call.start || vpn >= call.end || mm.vmas.at(vpn)?.has(VM_HUGETLB) === true) return;
    const word = asked[Math.floor((vpn - call.start) / call.pagesPerWord)] as bigint;
    if (((word & call.pfnFlagsMask) | call.defaultFlags) & call.flags[0]) return;
    this.#report({
      rule: 'hmm-answers', mm: mm.id, start: vpn, end: vpn + 1, what: `${call.op}() faults ${hex(addrOf(vpn))} of ${mm.name}, for which nobody asked`, missing: 'a fault of the pages that ask, and of no others',
    });
  }

  returned(mm: Mm, call: RangeCall, answer: RangeReturn): void {
    const at = this.#open.findIndex((one) => one.call === call);
    if (at < 0) return; // it began before anybody looked
    const [one] = this.#open.splice(at, 1) as [OpenCall];
    if (!mm.alive) return;
    this.#looked['hmm-answers']++;
    if (answer.errno === null) this.#judge(mm, one, answer);
    else this.#judgeError(mm, one, answer);
  }

  #judge(mm: Mm, { call, asked, tablesChanged, disturbed }: OpenCall, { count }: RangeReturn): void {
    const { op, start, end } = call;
    if (count !== end - start) {
      const from = start + count;
      this.#report({ rule: 'hmm-answers', mm: mm.id, start: from, end, what: `${op}() of ${end - start} pages succeeds, and counts ${count}`, missing: 'a count of the whole range, or an error' });
    }
    if (disturbed) return;
    const still = (mm.platform.arena.u32[HDR_TABLES_CHANGED >>> 2] as number) === tablesChanged;
    const reader = new WordReader(mm, call, asked, still);
    let told = 0;
    for (let vpn = start; vpn < end && told < FINDINGS_MAX; ) {
      const wrong = reader.wrongAt(vpn);
      const first = vpn;
      do vpn += call.pagesPerWord;
      while (vpn < end && reader.wrongAt(vpn) === wrong);
      if (wrong === null) continue;
      told++;
      this.#tell(mm, call, wrong, first, vpn);
    }
  }

  #tell(mm: Mm, call: RangeCall, wrong: Wrong, start: Vpn, end: Vpn): void {
    const [what, missing] = WORDS[wrong];
    const word = call.words[(start - call.start) / call.pagesPerWord] as bigint;
    const cpu = entryText(entryAt(chunkNow(mm.pageTable, start), start - alignDown(start, PMD_PAGES)), mm.platform.profile.devmapBit);
    this.#report({ rule: 'hmm-answers', mm: mm.id, start, end, what: `${call.op}() succeeds, and its word 0x${word.toString(16)} for ${hex(addrOf(start))} ${what}`, missing, cpu });
  }

  #judgeError(mm: Mm, one: OpenCall, { errno, reached, marked, dropped }: RangeReturn): void {
    const { call } = one;
    const { op, start, end, words, pagesPerWord, values: [error, none, special] } = call;
    const found = (from: Vpn, to: Vpn, what: string, missing: string): void => {
      this.#report({ rule: 'hmm-answers', mm: mm.id, start: from, end: to, what: `${op}() answers ${errno ?? ''}${what}`, missing });
    };
    if (dropped && reached < 0) found(start, end, ' with mmap_lock dropped, for a range that is not valid', 'EBUSY with mmap_lock held, as a snapshot has it');
    else if (dropped && call.block) found(start, end, ' with mmap_lock dropped, for a range that is valid, where it was to block', 'no FAULT_FLAG_ALLOW_RETRY: the handler waits with mmap_lock held');
    if (call.api === 'modern') {
      if ((errno === 'EFAULT' || errno === 'EPERM') && !asksAnything(one)) found(start, end, ' for a range of which nobody asks for anything', 'success: errors are for pages that are asked for');
      return;
    }
    if (reached < 0) return;
    const mark = marked < reached ? -1 : Math.floor((marked - start) / pagesPerWord);
    const wiped = mark >= 0 && words[mark] !== error && words[mark] !== special;
    if (wiped && (errno === 'EFAULT' || errno === 'EPERM')) found(marked, marked + 1, `, and the word for ${hex(addrOf(marked))}, which it could not have, does not say so`, 'values[ERROR] or values[SPECIAL] in its word');
    for (let i = Math.floor((reached - start) / pagesPerWord); i < (end - start) / pagesPerWord; i++) {
      if (i === mark || words[i] === none) continue;
      const vpn = start + i * pagesPerWord;
      return found(vpn, vpn + pagesPerWord, `, and leaves 0x${(words[i] as bigint).toString(16)} for ${hex(addrOf(vpn))}, which it has not reached`, 'values[NONE] in the words behind the error');
    }
  }
}

function asksAnything({ call, asked }: OpenCall): boolean {
  const [valid] = call.flags;
  if ((call.defaultFlags & valid) !== 0n) return true;
  return asked !== null && asked.some((word) => (word & call.pfnFlagsMask & valid) !== 0n);
}
