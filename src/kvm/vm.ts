/**
 * A virtual machine's second MMU: guest frames mapped to the pages of the process that runs it, in a table of its own
 * (virt/kvm/kvm_main.c, arch/x86/kvm/mmu/mmu.c, 6.12).
 *
 * Guarantee: outside an invalidation every entry points at the page that the process's page table maps behind its slot, with no more
 * rights. Unlike an HMM mirror it has no sequence per range: start counts an invalidation in and widens one range of guest frames, end
 * raises the sequence and counts it out; a fault reads the sequence, resolves the address, and under mmu_lock starts again when either
 * says that something may have changed.
 */
import { ACCESS_READ, ACCESS_WRITE, LEVEL_PTE, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PSE, PTE_RW, PTE_USER } from '../abi.ts';
import { HmmError, invariant } from '../errno.ts';
import type { Platform } from '../memremap/index.ts';
import { accessPage, type Mm, type MmuNotifier, type NotifierRange } from '../mm/index.ts';
import { PageTable, isLeafEntry, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import { MemorySlots, slotLevel, type MemorySlot } from './slots.ts';

export interface KvmStats {
  faults: number;
  retries: number;
  invalidations: number;
}

export class Kvm {
  readonly name: string;
  readonly mm: Mm;
  readonly platform: Platform;
  readonly slots = new MemorySlots();
  /** guest frames to pages: the shadow, or second-level, page table */
  readonly table: PageTable;
  readonly stats: KvmStats = { faults: 0, retries: 0, invalidations: 0 };
  /** invalidations in flight (mmu_invalidate_in_progress) */
  inProgress = 0;
  /** invalidations that have ended (mmu_invalidate_seq) */
  seq = 0;
  /** guest frames that those in flight cover, widened to one range */
  #rangeStart = Infinity;
  #rangeEnd = 0;
  /** false after the process has exited or the machine was closed */
  alive = true;
  readonly #notifier: MmuNotifier;

  constructor(name: string, mm: Mm) {
    this.name = name;
    this.mm = mm;
    this.platform = mm.platform;
    this.table = new PageTable(mm.platform.arena, mm.platform.levels);
    this.#notifier = {
      name,
      start: (range) => this.#invalidateStart(range),
      end: () => this.#invalidateEnd(),
      prompt: { isReady: () => true, answer: (range) => this.#answer(range) },
      release: () => this.close(),
    };
    mm.notifiers.register(this.#notifier);
    mm.mirrors.add(this);
  }

  get attached(): boolean {
    return this.alive;
  }

  /** The process's page behind a guest frame; -1: no slot has it. */
  readonly vpnOf = (gfn: number): Vpn | -1 => {
    const slot = this.slots.at(gfn);
    return slot === null ? -1 : slot.vpn + (gfn - slot.gfn);
  };

  get lockName(): string {
    return `mmu_lock ${this.name}`;
  }

  /** What preemption points that work on this machine's table touch. */
  get touches(): string {
    return `device ${this.name}`;
  }

  /** Takes a slot's memory out of the guest. ENOENT. */
  removeSlot(id: number): void {
    const slot = this.slots.remove(id);
    this.zap(slot.gfn, slot.gfn + slot.npages);
  }

  /** The frame that the guest could access now, without a fault, or -STOP_*. */
  translate(gfn: number, write: boolean): Pfn {
    return gfn < this.table.endVpn ? this.table.translate(gfn, write ? ACCESS_WRITE : ACCESS_READ) : -1;
  }

  /**
   * kvm_tdp_page_fault(): makes a guest frame accessible. EFAULT where no slot has it or the process could not access it; a poisoned
   * page is the process's SIGBUS.
   */
  *fault(gfn: number, write: boolean): Sleepable<void> {
    const { sched } = this.platform;
    this.stats.faults++;
    for (;;) {
      const slot = this.alive ? this.slots.at(gfn) : null;
      if (slot === null) throw new HmmError('EFAULT', 'guest fault', `${this.name} has no memory at frame 0x${gfn.toString(16)}`);
      if (sched.concurrent) yield sched.point(`${this.name} fault`, this.touches);
      const { seq } = this;
      const vpn = slot.vpn + (gfn - slot.gfn);
      const pfn = yield* accessPage(this.mm, vpn, write, 'guest fault');
      if (sched.concurrent) yield sched.point(`${this.name} map`, `${this.touches},${this.mm.touches},${this.mm.notifiers.touches}`);
      sched.spinLock(this.lockName);
      try {
        if ((!this.#retries(gfn, seq) || this.platform.bugs.has('kvm-retry-skipped')) && this.slots.at(gfn) === slot) {
          this.#map(slot, gfn, pfn, write);
          return;
        }
      } finally {
        sched.spinUnlock(this.lockName);
      }
      this.stats.retries++;
      // Someone is at work there: let him come to his end.
      if (this.inProgress > 0) yield { kind: 'wait', what: `invalidations seen by ${this.name}`, touches: this.touches, ready: () => !this.#covers(gfn), holder: () => null, deadlineNs: Infinity };
    }
  }

  /** mmu_invalidate_retry_gfn() */
  #retries(gfn: number, seq: number): boolean {
    return this.#covers(gfn) || this.seq !== seq;
  }

  #covers(gfn: number): boolean {
    return this.inProgress > 0 && gfn >= this.#rangeStart && gfn < this.#rangeEnd;
  }

  /** Loads `target.length` guest bytes from byte `within` of frame `gfn` on. */
  *read(gfn: number, within: number, target: Uint8Array): Sleepable<void> {
    yield* this.#copy(gfn, within, target, false);
  }

  *write(gfn: number, within: number, source: Uint8Array): Sleepable<void> {
    yield* this.#copy(gfn, within, source, true);
  }

  *#copy(gfn: number, within: number, bytes: Uint8Array, write: boolean): Sleepable<void> {
    const { content } = this.platform.arena;
    const { sched } = this.platform;
    for (let done = 0; done < bytes.length; ) {
      const at = within + done;
      const frame = gfn + Math.floor(at / 4096);
      const n = Math.min(bytes.length - done, 4096 - (at % 4096));
      if (sched.concurrent) yield sched.point(`${this.name} access`, `${this.touches},bytes`);
      const pfn = this.alive ? this.translate(frame, write) : -1;
      if (pfn < 0) {
        yield* this.fault(frame, write);
        continue;
      }
      const paddr = pfn * 4096 + (at % 4096);
      if (!write) content.read(paddr, bytes, done, n);
      else if (!content.write(paddr, bytes, done, n)) throw new HmmError('ENOMEM', 'guest store', 'no room in the arena for the bytes', addrOf(frame));
      done += n;
    }
  }

  /** host_pfn_mapping_level() and direct_map(): the largest leaf that slot and host table both allow. Under mmu_lock. */
  #map(slot: MemorySlot, gfn: number, pfn: Pfn, write: boolean): void {
    const host = this.mm.pageTable;
    const vpn = slot.vpn + (gfn - slot.gfn);
    host.look(vpn);
    const hostLevel = isLeafEntry(host.level, host.lo) ? host.level : LEVEL_PTE;
    // A read fault of what the host may write maps it writable at once, unless writes are to be noticed.
    const writable = write || (slot.dirty === null && isWritable(host.lo));
    const level = Math.min(hostLevel, slotLevel(slot, gfn));
    const npages = pagesOfLevel(level);
    const base = alignDown(gfn, npages);
    const { table } = this;
    if (!table.slot(gfn, level)) throw new HmmError('ENOMEM', 'guest fault', `no table frame left for ${this.name}`);
    if (table.level !== level || (!table.none && !isLeafEntry(level, table.lo))) {
      // Leaves of another size are in the way.
      this.zap(base, base + npages);
      if (!table.slot(gfn, level)) throw new HmmError('ENOMEM', 'guest fault', `no table frame left for ${this.name}`);
    }
    const lo = PTE_PRESENT | PTE_USER | PTE_ACCESSED | (level === LEVEL_PTE ? 0 : PTE_PSE) | (writable ? PTE_RW | PTE_DIRTY : 0);
    table.set(pfn - (gfn - base), lo, 0);
    if (writable) slot.dirty?.add(gfn - slot.gfn);
    const { bus } = this.platform;
    if (bus.on) bus.emit({ type: 'device-map', device: this.name, mm: this.mm.id, start: vpn - (gfn - base), end: vpn - (gfn - base) + npages, leaves: 1 });
  }

  // ── dirty log ──

  /** KVM_MEM_LOG_DIRTY_PAGES on: writes are noticed page by page from now on. */
  startDirtyLog(id: number): void {
    const slot = this.slots.get(id);
    slot.dirty ??= new Set();
    this.#protect(slot);
  }

  stopDirtyLog(id: number): void {
    const slot = this.slots.get(id);
    slot.dirty = null;
    // Small leaves go, so that large ones can come back.
    this.zap(slot.gfn, slot.gfn + slot.npages);
  }

  /** KVM_GET_DIRTY_LOG: places of the pages written since last time, ascending; they are write-protected anew. ENOENT for a slot without log. */
  dirtyLog(id: number): readonly number[] {
    const slot = this.slots.get(id);
    if (slot.dirty === null) throw new HmmError('ENOENT', 'dirty log', `slot ${id} keeps no log`);
    const pages = [...slot.dirty].toSorted((a, b) => a - b);
    slot.dirty.clear();
    for (const page of pages) this.table.protect(slot.gfn + page, 1, PTE_RW, 0, { partial: (gfn) => this.#dropLeaf(gfn) });
    return pages;
  }

  #protect(slot: MemorySlot): void {
    this.table.protect(slot.gfn, slot.npages, PTE_RW, 0, { partial: (gfn) => this.#dropLeaf(gfn) });
  }

  // ── invalidation ──

  *#invalidateStart(range: NotifierRange): Sleepable<boolean> {
    const { sched } = this.platform;
    if (sched.concurrent) yield sched.point(`${this.name} invalidate`, `${this.touches},${this.mm.notifiers.touches}`);
    this.#answer(range);
    return true;
  }

  #answer(range: NotifierRange): void {
    const { sched } = this.platform;
    sched.spinLock(this.lockName);
    this.stats.invalidations++;
    if (this.inProgress === 0) [this.#rangeStart, this.#rangeEnd] = [Infinity, 0];
    this.inProgress++;
    for (const { start, end } of this.slots.behind(range.start, range.end)) {
      this.#rangeStart = Math.min(this.#rangeStart, start);
      this.#rangeEnd = Math.max(this.#rangeEnd, end);
      if (!this.platform.bugs.has('skip-notifier')) this.zap(start, end);
    }
    sched.spinUnlock(this.lockName);
  }

  #invalidateEnd(): void {
    this.seq++;
    invariant(this.inProgress > 0, `${this.name}: an invalidation ended more often than started`);
    this.inProgress--;
  }

  /** Drops what maps guest frames `[start, end)`; a leaf that the range cuts goes whole: it is faulted again. */
  zap(start: number, end: number): void {
    const cleared = this.table.zap(start, end - start, { partial: (gfn) => this.#dropLeaf(gfn), freeTables: true });
    const { bus } = this.platform;
    if (bus.on && cleared > 0) bus.emit({ type: 'device-unmap', device: this.name, mm: this.mm.id, start, end });
  }

  #dropLeaf(gfn: Vpn): void {
    this.table.look(gfn);
    this.table.setRaw(0, 0);
  }

  /** The machine goes: nothing is mapped any more and nobody listens. */
  *close(): Sleepable<void> {
    if (!this.alive) return;
    this.alive = false;
    this.mm.mirrors.delete(this);
    const { sched } = this.platform;
    if (sched.concurrent) yield sched.point(`${this.name} goes`, '*');
    this.mm.notifiers.unregister(this.#notifier);
    this.table.destroy();
  }
}
