/**
 * The mirroring device: a small complete driver, as the kernel's own test device (lib/test_hmm.c), with a page table of its own.
 *
 * Guarantee: outside an invalidation every entry of its table points at the page that the CPU page table maps there, with no
 * more rights. It keeps it as every driver must: words from a range walk are installed only under its lock and only while
 * nothing has been invalidated since; an invalidation takes the lock and drops the entries before it answers. Accesses go
 * through its own table and the bytes behind it, never through the CPU's.
 */
import { ACCESS_READ, ACCESS_WRITE, LEVEL_PTE, PTE_PRESENT, PTE_RW, PTE_USER } from '../abi.ts';
import { HmmError, invariant } from '../errno.ts';
import type { Platform } from '../memremap/index.ts';
import type { Mm, NotifierRange } from '../mm/index.ts';
import { PageTable } from '../pgtable/index.ts';
import type { BugSwitch } from '../profile/index.ts';
import { RwLock, type Sleepable } from '../sched/index.ts';
import { addrOf, alignDown, pagesOfLevel, type Pfn, type Vpn } from '../units.ts';
import type { DeviceMemory } from './deviceMemory.ts';

/** 8 TiB: a request to the walkers counts its pages in 32 bits, and a space has 35 or 44 bits of them. */
const DROP_PAGES = 2 ** 31;

/** How one API brings pages into a device's table. */
export interface MirrorPort {
  /** makes `[start, end)` accessible, or throws: EFAULT, EPERM, EBUSY after the timeout, ENOMEM */
  fill(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult>;
  /** stops mirroring; no callback runs any more when it returns */
  detach(): Sleepable<void>;
}

export interface FillResult {
  /** pages in the words and how many leaves of each size they became */
  readonly npages: number;
  readonly retries: number;
  /** host time is not modelled: this is what the caller measured, or 0 */
  readonly leaves: readonly [number, number, number];
}

/** Device loads and stores, counted. */
export interface DeviceStats {
  reads: number;
  writes: number;
  /** fills: a clean pass over unmapped memory is one */
  faults: number;
  retries: number;
  invalidations: number;
  leaves: [number, number, number];
}

/** What is told when entries come and go. Byte addresses are the facade's. */
export interface DeviceHooks {
  onInvalidate?(range: NotifierRange): void;
  onFill?(start: Vpn, npages: number): void;
}

/** One device's view of one address space. */
export class DeviceMirror {
  readonly name: string;
  readonly mm: Mm;
  readonly platform: Platform;
  readonly table: PageTable;
  /** the driver's lock: over its table and the question whether a walk is still good */
  readonly lock: RwLock;
  readonly stats: DeviceStats = newStats();
  readonly hooks: DeviceHooks;
  /** false after the process has exited or the mirror was closed */
  attached = true;
  closed = false;
  /** the device's own memory, whose pages it sees where they are */
  #memory: DeviceMemory | null = null;
  #port: MirrorPort | null = null;

  constructor(name: string, mm: Mm, hooks: DeviceHooks = {}) {
    this.name = name;
    this.mm = mm;
    this.platform = mm.platform;
    this.table = new PageTable(mm.platform.arena, mm.platform.levels);
    this.lock = new RwLock(`device lock ${name}`, `device ${name},${mm.notifiers.subTouches(name)}`);
    this.hooks = hooks;
    mm.mirrors.add(this);
  }

  /** It has the process's own addresses. */
  readonly vpnOf = (page: Vpn): Vpn => page;

  get memory(): DeviceMemory | null {
    return this.#memory;
  }

  /** Gives the device memory of its own. Once, before anything is mirrored. */
  set memory(memory: DeviceMemory) {
    this.#memory = memory;
    memory.join(this);
  }

  set port(port: MirrorPort) {
    this.#port = port;
  }

  /** Copies device reads of memory at page `vpn`, byte `within`, into `target`. */
  *read(vpn: Vpn, within: number, target: Uint8Array): Sleepable<void> {
    yield* this.#copy(vpn, within, target, false);
    this.stats.reads++;
  }

  *write(vpn: Vpn, within: number, source: Uint8Array): Sleepable<void> {
    yield* this.#copy(vpn, within, source, true);
    this.stats.writes++;
  }

  /** Adds to the 64-bit word at page `vpn`, byte `within` (a multiple of 8), and returns what it was. */
  *atomicAdd(vpn: Vpn, within: number, value: bigint): Sleepable<bigint> {
    const pfn = yield* this.page(vpn, vpn + 1, true);
    const { content } = this.platform.arena;
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    content.read(pfn * 4096 + within, bytes, 0, 8);
    const old = view.getBigUint64(0, true);
    view.setBigUint64(0, BigInt.asUintN(64, old + value), true);
    if (!this.platform.bugs.has('lost-device-write') && !content.write(pfn * 4096 + within, bytes, 0, 8)) {
      throw new HmmError('ENOMEM', 'device atomic', 'no room in the arena for the bytes', addrOf(vpn));
    }
    return old;
  }

  /** Brings `[start, end)` into the table without touching it. */
  *fill(start: Vpn, end: Vpn, write: boolean): Sleepable<FillResult> {
    if (this.#port === null || !(this.attached || this.#faultsGone())) throw new HmmError('EFAULT', 'device fault', `${this.name} mirrors nothing`, addrOf(start));
    const result = yield* this.#port.fill(start, end, write);
    this.stats.faults++;
    this.stats.retries += result.retries;
    for (const level of [0, 1, 2] as const) this.stats.leaves[level] += result.leaves[level];
    this.hooks.onFill?.(start, result.npages);
    return result;
  }

  /**
   * Programs words of a walk, under the lock and after the check that they are still good. A word of a frame next to the right
   * one, or a check left out, are bug switches. Throws ENOMEM with nothing of this call left in the table.
   */
  install(start: Vpn, npages: number, words: InstallWords): readonly [number, number, number] {
    const { bus, bugs } = this.platform;
    const table = this.table;
    const done = table.install(start, npages, words, PTE_USER);
    const leaves: [number, number, number] = [table.installed(0), table.installed(1), table.installed(2)];
    if (done < npages) {
      this.drop(start, start + npages);
      throw new HmmError('ENOMEM', 'device fault', `no table frame left for ${this.name}`, addrOf(start));
    }
    if (bugs.has('wrong-frame')) this.#shiftFrames(start);
    if (bugs.has('write-assumed')) table.protect(start, npages, 0, PTE_RW);
    if (bus.on) bus.emit({ type: 'device-map', device: this.name, mm: this.mm.id, start, end: start + npages, leaves: leaves[0] + leaves[1] + leaves[2] });
    return leaves;
  }

  /** The driver's answer to an invalidation: under its lock, entries in the range go. False: not now (non-blockable only). */
  *invalidate(range: NotifierRange, underLock: () => void): Sleepable<boolean> {
    const { sched, bugs } = this.platform;
    if (!this.lock.tryWrite(sched)) {
      if (!range.blockable && this.lock.held !== null) return bugs.has('nonblock-skipped');
      yield* this.lock.write(sched);
    }
    this.#answer(range, underLock);
    if (bugs.has('removed-in-callback') && range.event === 'UNMAP' && this.#port !== null) yield* this.#port.detach();
    return true;
  }

  /** Would `invalidate` of a blockable range answer without a wait, if nobody else could run? */
  get answersNow(): boolean {
    return this.lock.isFree && !this.platform.bugs.has('removed-in-callback');
  }

  /** `invalidate` where `answersNow`. */
  invalidateNow(range: NotifierRange, underLock: () => void): void {
    invariant(this.lock.tryWrite(this.platform.sched), `${this.name} answers at once, and its lock is taken`);
    this.#answer(range, underLock);
  }

  /** Under the lock, which is given back. */
  #answer(range: NotifierRange, underLock: () => void): void {
    const { sched, bugs } = this.platform;
    try {
      underLock();
      this.stats.invalidations++;
      if (!deaf(bugs, range)) this.drop(range.start, bugs.has('drops-first-page') ? range.start + 1 : Math.min(range.end, this.table.endVpn));
      this.hooks.onInvalidate?.(range);
    } finally {
      this.lock.writeUnlock(sched);
    }
  }

  /** Page `vpn` has moved: a page of the device's own memory is entered at once, any other when it is touched. Under the lock. */
  moved(vpn: Vpn, pfn: Pfn, write: boolean): void {
    this.drop(vpn, vpn + 1);
    const { table } = this;
    if (this.#memory === null || !this.#memory.covers(pfn) || !table.slot(vpn, LEVEL_PTE) || table.level !== LEVEL_PTE) return;
    table.set(pfn, PTE_PRESENT | PTE_USER | (write ? PTE_RW : 0), 0);
  }

  /** Drops entries; a larger leaf that the range cuts goes whole: it is filled again when touched. */
  drop(start: Vpn, end: Vpn): void {
    const { table } = this;
    const partial = (vpn: Vpn): void => {
      table.look(vpn);
      table.setRaw(0, 0);
    };
    let cleared = 0;
    for (let at = start; at >= 0 && at < end; ) {
      const upTo = Math.min(end, at + DROP_PAGES);
      cleared += table.zap(at, upTo - at, { partial, freeTables: true });
      at = upTo < end ? table.nextEntry(upTo, end, 0) : -1;
    }
    const { bus } = this.platform;
    if (bus.on && cleared > 0) bus.emit({ type: 'device-unmap', device: this.name, mm: this.mm.id, start, end });
  }

  /** Stops mirroring and gives the table back. The last view of its device's memory brings what is there back to RAM. */
  *close(): Sleepable<void> {
    if (this.closed) return;
    this.closed = true;
    this.attached = false;
    this.mm.mirrors.delete(this);
    if (this.#port !== null) yield* this.#port.detach();
    if (this.#memory !== null) yield* this.#memory.leave(this);
    this.table.destroy();
  }

  /** The frame the device could access now, without a fault, or -STOP_*. */
  translate(vpn: Vpn, write: boolean): Pfn {
    return vpn < this.table.endVpn ? this.table.translate(vpn, write ? ACCESS_WRITE : ACCESS_READ) : -1;
  }

  /** Leaves in the table, by level. */
  countLeaves(): [number, number, number] {
    const counts: [number, number, number] = [0, 0, 0];
    const { table } = this;
    for (let vpn = table.nextEntry(0, table.endVpn, 0); vpn >= 0; ) {
      table.look(vpn);
      counts[table.level as 0 | 1 | 2]++;
      const next = alignDown(vpn, pagesOfLevel(table.level)) + pagesOfLevel(table.level);
      vpn = next >= table.endVpn ? -1 : table.nextEntry(next, table.endVpn, 0);
    }
    return counts;
  }

  // ── inside ──

  /** Bug switch: the process has exited, and the device goes to its page tables nevertheless. */
  #faultsGone(): boolean {
    return !this.closed && !this.mm.alive && this.platform.bugs.has('gone-mm-faulted');
  }

  *#copy(vpn: Vpn, within: number, bytes: Uint8Array, write: boolean): Sleepable<void> {
    const { content } = this.platform.arena;
    const end = vpn + Math.ceil((within + bytes.length) / 4096);
    for (let done = 0; done < bytes.length; ) {
      const at = within + done;
      const page = vpn + Math.floor(at / 4096);
      const pfn = yield* this.page(page, end, write);
      const run = Math.min(bytes.length - done, this.#runBytes(page, end) - (at % 4096));
      const paddr = pfn * 4096 + (at % 4096);
      if (!write) content.read(paddr, bytes, done, run);
      else if (!this.platform.bugs.has('lost-device-write') && !content.write(paddr, bytes, done, run)) {
        throw new HmmError('ENOMEM', 'device write', 'no room in the arena for the bytes', addrOf(page));
      }
      const { bus } = this.platform;
      if (bus.on) bus.emit({ type: 'device-access', device: this.name, mm: this.mm.id, vpn: page, npages: Math.ceil(run / 4096), write });
      done += run;
    }
  }

  /** The frame the device has for `vpn`; where it has none, everything up to `end` is brought in first. */
  *page(vpn: Vpn, end: Vpn, write: boolean): Sleepable<Pfn> {
    const { sched } = this.platform;
    for (;;) {
      if (sched.concurrent) yield sched.point(`${this.name} access`, `device ${this.name},bytes`);
      const pfn = this.attached ? this.translate(vpn, write) : -1;
      if (pfn >= 0) return pfn;
      yield* this.fill(vpn, end, write);
    }
  }

  /** Bytes from the start of page `vpn` on that lie in one row of frames: the rest of its leaf, or this page. */
  #runBytes(vpn: Vpn, end: Vpn): number {
    this.table.look(vpn);
    const npages = pagesOfLevel(this.table.level);
    return (Math.min(end, alignDown(vpn, npages) + npages) - vpn) * 4096;
  }

  /** Bug switch wrong-frame: the first leaf points at the frame after its own. */
  #shiftFrames(start: Vpn): void {
    const table = this.table;
    if (!table.look(start)) return;
    const shifted = table.lo + 4096 * pagesOfLevel(table.level);
    table.setRaw(shifted >>> 0, table.hi);
  }
}

/** Does a bug switch keep the device from hearing this one? */
function deaf(bugs: ReadonlySet<BugSwitch>, { event }: NotifierRange): boolean {
  return bugs.has('skip-notifier') || (bugs.has('protection-ignored') && event.startsWith('PROTECTION'));
}

/** Words of a range walk and how to read them. */
export interface InstallWords {
  readonly offset: number;
  readonly pfnShift: number;
  readonly pfnMask: bigint;
  readonly valid: bigint;
  readonly write: bigint;
  readonly none: bigint;
}

export function newStats(): DeviceStats {
  return { reads: 0, writes: 0, faults: 0, retries: 0, invalidations: 0, leaves: [0, 0, 0] };
}
