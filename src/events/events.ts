/**
 * Events: what happened, told by the room in which it happened to whoever observes the machine.
 *
 * Every room emits, none below `check` listens. An emitter asks `bus.on` first, so that nobody pays for
 * events that nobody watches. Addresses are page numbers here (`vpn`, `pfn`), ranges `[start, end)`.
 */

/** mmu_notifier event types (include/linux/mmu_notifier.h). */
export type NotifierEvent = 'UNMAP' | 'CLEAR' | 'PROTECTION_VMA' | 'PROTECTION_PAGE' | 'SOFT_DIRTY' | 'RELEASE' | 'MIGRATE' | 'EXCLUSIVE';

/**
 * A call of HMM's over pages `[start, end)`, with a word for each `pagesPerWord` of them: requests when it begins, answers when it returns.
 * What is asked of a page: `(word & pfnFlagsMask) | defaultFlags`.
 */
export interface RangeCall {
  readonly op: 'hmm_range_fault' | 'hmm_range_snapshot';
  readonly api: '2019' | 'modern';
  readonly mm: number;
  readonly start: number;
  readonly end: number;
  readonly words: BigUint64Array;
  readonly pagesPerWord: number;
  readonly defaultFlags: bigint;
  readonly pfnFlagsMask: bigint;
  /** VALID, WRITE, DEVICE_PRIVATE (0: there is none) */
  readonly flags: readonly [bigint, bigint, bigint];
  /** ERROR, NONE, SPECIAL */
  readonly values: readonly [bigint, bigint, bigint];
  /** the bit at which the frame number stands, and how many it has */
  readonly pfnShift: number;
  readonly pfnBits: number;
  /** the fault handler is not to drop mmap_lock */
  readonly block: boolean;
}

/** What came of it. */
export interface RangeReturn {
  readonly errno: string | null;
  /** pages counted; with an errno 0 */
  readonly count: number;
  /** a walk that failed: words from this page on are none of its answers; -1: none did */
  readonly reached: number;
  /** the page whose word names the error, or -1 */
  readonly marked: number;
  /** mmap_lock was dropped, though the range was valid */
  readonly dropped: boolean;
}

export type MachineEvent =
  | { readonly type: 'mmap'; readonly mm: number; readonly start: number; readonly end: number; readonly file: string | null; readonly prot: string }
  | { readonly type: 'munmap'; readonly mm: number; readonly start: number; readonly end: number }
  | { readonly type: 'mprotect'; readonly mm: number; readonly start: number; readonly end: number; readonly prot: string }
  | { readonly type: 'fork'; readonly mm: number; readonly child: number }
  | { readonly type: 'mremap'; readonly mm: number; readonly start: number; readonly end: number; readonly to: number; readonly toEnd: number }
  | { readonly type: 'exit'; readonly mm: number }
  | { readonly type: 'fault'; readonly mm: number; readonly vpn: number; readonly write: boolean; readonly result: string }
  | { readonly type: 'invalidate-start'; readonly mm: number; readonly event: NotifierEvent; readonly start: number; readonly end: number; readonly blockable: boolean }
  /** every listener has heard of it */
  | { readonly type: 'invalidate-told'; readonly mm: number; readonly event: NotifierEvent; readonly start: number; readonly end: number }
  /** a listener cannot serve it now (non-blockable only): there will be no end */
  | { readonly type: 'invalidate-refused'; readonly mm: number; readonly event: NotifierEvent; readonly start: number; readonly end: number }
  | { readonly type: 'invalidate-end'; readonly mm: number; readonly event: NotifierEvent; readonly start: number; readonly end: number }
  /** here the modelled kernel breaks the guarantee, in this rule, as its profile's field says */
  | { readonly type: 'breach'; readonly field: string; readonly rule: string; readonly mm: number; readonly start: number; readonly end: number }
  /** hmm_range_fault() has answered EFAULT at a page, asked for reading or writing */
  | { readonly type: 'hmm-refused'; readonly mm: number; readonly vpn: number; readonly write: boolean }
  | { readonly type: 'hmm-called'; readonly call: RangeCall }
  | { readonly type: 'hmm-returned'; readonly call: RangeCall; readonly answer: RangeReturn }
  /** handle_mm_fault() is about to be called for a page that lies in no area */
  | { readonly type: 'hmm-no-area'; readonly mm: number; readonly vpn: number }
  /** whether range->valid (2019) is true now of pages `[start, end)`, which has just been said; `update`: the invalidation that took it away, else null */
  | { readonly type: 'hmm-valid'; readonly mm: number; readonly start: number; readonly end: number; readonly valid: boolean; readonly update: { readonly start: number; readonly end: number } | null }
  /** the pte table over a page is about to be locked, and its entries worked on */
  | { readonly type: 'pte-table'; readonly mm: number; readonly vpn: number; readonly by: string }
  /** the layout of a file is broken: its pages are unmapped, from private areas too; and it has been */
  | { readonly type: 'layout-break'; readonly file: string; readonly areas: readonly { readonly mm: number; readonly start: number; readonly end: number }[] }
  | { readonly type: 'layout-broken'; readonly file: string }
  /** a Worker takes what it has read of a page for good: its frame, or -STOP_* */
  | { readonly type: 'worker-took'; readonly worker: string; readonly mm: number; readonly vpn: number; readonly pfn: number }
  /** a retry loop is back at its head with nothing changed */
  | { readonly type: 'livelock'; readonly mm: number; readonly loop: string; readonly vpn: number; readonly rounds: number }
  /** memory_failure() of a page that this process had there is done */
  | { readonly type: 'poison'; readonly mm: number; readonly vpn: number; readonly pfn: number }
  /** a path, `what`, works with what a driver made; `freed`: why that is no more, or null */
  | { readonly type: 'driver-used'; readonly mm: number; readonly what: string; readonly whose: string; readonly freed: string | null }
  | { readonly type: 'entry'; readonly mm: number; readonly vpn: number; readonly level: number; readonly pfn: number; readonly write: boolean }
  | { readonly type: 'zap'; readonly mm: number; readonly start: number; readonly end: number; readonly leaves: number }
  | { readonly type: 'pgmap'; readonly pgmap: number; readonly state: string }
  | { readonly type: 'blocks'; readonly file: string; readonly index: number; readonly pfn: number; readonly npages: number; readonly freed: boolean }
  | { readonly type: 'size'; readonly file: string; readonly size: number }
  | { readonly type: 'writeback'; readonly file: string; readonly index: number; readonly npages: number }
  | { readonly type: 'device-map'; readonly device: string; readonly mm: number; readonly start: number; readonly end: number; readonly leaves: number }
  | { readonly type: 'device-unmap'; readonly device: string; readonly mm: number; readonly start: number; readonly end: number }
  | { readonly type: 'device-access'; readonly device: string; readonly mm: number; readonly vpn: number; readonly npages: number; readonly write: boolean };

/** One that watches a machine. Called synchronously, in order; must not call back into the machine. */
export type Observer = (event: MachineEvent) => void;

/** Hands events to the observers in the order in which they came. */
export class EventBus {
  /** false while nobody observes: look before building an event */
  on = false;
  #observers: readonly Observer[] = [];

  /** Adds an observer; the returned function takes it away. */
  observe(observer: Observer): () => void {
    this.#observers = [...this.#observers, observer];
    this.on = true;
    return () => {
      this.#observers = this.#observers.filter((one) => one !== observer);
      this.on = this.#observers.length > 0;
    };
  }

  emit(event: MachineEvent): void {
    for (const observer of this.#observers) observer(event);
  }
}
