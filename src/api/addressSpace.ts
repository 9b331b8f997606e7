/** AddressSpace: a process's memory. Addresses are bigint bytes, lengths numbers of bytes. */
import { ACCESS_READ, ACCESS_WRITE, LEVEL_PUD, PTE_ACCESSED, STOP_HOLE } from '../abi.ts';
import { HmmError, checkOptions } from '../errno.ts';
import {
  ADVICE, VM_EXEC, VM_NOHUGEPAGE, VM_READ, VM_WRITE, cpuLoad, cpuStore, exitMm, madvise, madviseInject, mlock, mmap, mprotect, mremap, munlock, munmap, oomReap, pinUserPages, protString, registerMissing, uffdCopy, uffdZero, type Advice,
  type MappedFile, type Mm, type OomReaped,
} from '../mm/index.ts';
import { framePfn, isDirty, isLeafEntry, isPresent, isWritable } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { LEVEL_SIZES, addrOf, alignDown, pagesOfLevel, type PageSize } from '../units.ts';
import { checkAddress, checkBoolean, checkBytes, checkData, checkOneOf, checkPage, checkPages, checkVpns, describe } from './checks.ts';
import type { Driver } from './driver.ts';
import { Pins, type PinOptions } from './pins.ts';
import { charge, type TranslateCosts } from './translateCosts.ts';

/** What mmap can map: a file, a device, or nothing (anonymous memory). */
export interface Mappable {
  /** @internal */
  mappedFile(): MappedFile;
}

/** SIGBUS for memory that has failed, to a process that did not touch it. */
export interface PoisonNotice {
  readonly addr: bigint;
  /** low bits of `addr` that do not count */
  readonly lsb: number;
}

export interface MmapOptions {
  /** bytes */
  readonly length: number;
  /** some of 'r', 'w', 'x', or '' for none (default 'rw') */
  readonly prot?: string;
  /** default true for files, false for anonymous memory */
  readonly shared?: boolean;
  /** bytes into the file, a multiple of 4096 */
  readonly offset?: number;
  /** address wanted */
  readonly at?: bigint;
  /** what `at` means: a hint (default), MAP_FIXED, or MAP_FIXED_NOREPLACE */
  readonly fixed?: 'hint' | 'fixed' | 'noreplace';
  /** MAP_SYNC */
  readonly sync?: boolean;
  /** MADV_NOHUGEPAGE from the start: entries of 4K only */
  readonly smallPages?: boolean;
}

export interface MremapOptions {
  /** may it go elsewhere? (default true) */
  readonly mayMove?: boolean;
  /** MREMAP_FIXED: where to; what is mapped there goes */
  readonly to?: bigint;
  /** MREMAP_DONTUNMAP: the old area stays, empty */
  readonly dontunmap?: boolean;
}

/** A mapped range: [start, end). */
export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly length: number;
}

/** A leaf of the page table. */
export interface LeafInfo {
  readonly addr: bigint;
  readonly pageSize: PageSize;
  readonly pfn: bigint;
  readonly present: boolean;
  readonly writable: boolean;
  readonly dirty: boolean;
  readonly accessed: boolean;
  readonly devmap: boolean;
}

/** An area, as a line of /proc/PID/maps. */
export interface AreaInfo extends Mapping {
  readonly prot: string;
  readonly shared: boolean;
  readonly file: string | null;
  readonly offset: number;
}

/** From a page number to its frame, or a negative number (-STOP_* of src/abi.ts) that says why there is none. No other errors than ENXIO, EFAULT, EBADF: machine, process or mirror are gone. */
export type Translator = (vpn: number) => number;

/** MADV_ advice by name: 'dontneed', 'free', 'cold', 'collapse', ... */
export type { Advice };

export class AddressSpace implements Disposable {
  readonly name: string;
  readonly #driver: Driver;
  readonly #mm: Mm;

  /** @internal made by `Machine.mm` */
  constructor(driver: Driver, mm: Mm) {
    this.name = mm.name;
    this.#driver = driver;
    this.#mm = mm;
  }

  /** What a task can `yield*`. */
  readonly task = {
    mmap: (what: Mappable | null, options: MmapOptions): Sleepable<Mapping> => this.#mmap(what, options),
    munmap: (addr: bigint, length: number): Sleepable<void> => {
      const vpn = checkPage('munmap', 'addr', addr);
      return munmap(this.#space('munmap'), vpn, checkPages('munmap', 'length', vpn, length));
    },
    mprotect: (addr: bigint, length: number, prot: string): Sleepable<void> => {
      const vpn = checkPage('mprotect', 'addr', addr);
      return mprotect(this.#space('mprotect'), vpn, checkPages('mprotect', 'length', vpn, length), protOf('mprotect', prot));
    },
    mremap: (addr: bigint, oldLength: number, newLength: number, options: MremapOptions = {}): Sleepable<Mapping> => this.#mremap(addr, oldLength, newLength, options),
    fork: (options: { name?: string } = {}): Sleepable<AddressSpace> => this.#fork(options),
    fillMissing: (addr: bigint, bytes?: Uint8Array): Sleepable<void> => {
      const vpn = checkPage('fillMissing', 'addr', addr);
      if (bytes === undefined) return uffdZero(this.#space('fillMissing'), vpn);
      if (checkData('fillMissing', 'bytes', bytes).length !== 4096) throw new RangeError(`fillMissing: bytes has ${bytes.length}, not 4096 of them`);
      return uffdCopy(this.#space('fillMissing'), vpn, bytes);
    },
    oomReap: (): Sleepable<OomReaped> => oomReap(this.#space('oomReap')),
    madvise: (addr: bigint, length: number, advice: Advice): Sleepable<void> => {
      const vpn = checkPage('madvise', 'addr', addr);
      const npages = checkPages('madvise', 'length', vpn, length);
      checkOneOf('madvise', 'advice', advice, ADVICE);
      return madvise(this.#space('madvise'), vpn, npages, advice);
    },
    mlock: (addr: bigint, length: number): Sleepable<void> => {
      const vpn = checkPage('mlock', 'addr', addr);
      return mlock(this.#space('mlock'), vpn, checkPages('mlock', 'length', vpn, length));
    },
    munlock: (addr: bigint, length: number): Sleepable<void> => {
      const vpn = checkPage('munlock', 'addr', addr);
      return munlock(this.#space('munlock'), vpn, checkPages('munlock', 'length', vpn, length));
    },
    pin: (addr: bigint, length: number, options: PinOptions = {}): Sleepable<Pins> => this.#pin(addr, length, options),
    poison: (addr: bigint, length: number, how: 'hwpoison' | 'softoffline' = 'hwpoison'): Sleepable<PoisonNotice | null> => this.#poison(addr, length, how),
    load: (addr: bigint, target: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('load', 'addr', addr);
      return cpuLoad(this.#space('load'), vpn, within, checkData('load', 'target', target));
    },
    store: (addr: bigint, bytes: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('store', 'addr', addr);
      return cpuStore(this.#space('store'), vpn, within, checkData('store', 'bytes', bytes));
    },
    exit: (): Sleepable<void> => exitMm(this.#space('exit')),
  };

  /**
   * mmap(2): maps a file, a device or (null) anonymous memory. Throws EINVAL, EACCES, ENOMEM, EEXIST, EPERM, EOPNOTSUPP, EOVERFLOW,
   * ENXIO; TypeError and RangeError for arguments that are none.
   */
  mmap(what: Mappable | null, options: MmapOptions): Mapping {
    return this.#driver.run('mmap', this.task.mmap(what, options));
  }

  /** munmap(2). Throws EINVAL, ENOMEM. */
  munmap(addr: bigint, length: number): void {
    this.#driver.run('munmap', this.task.munmap(addr, length));
  }

  /** mprotect(2). Throws EINVAL, ENOMEM (a gap; what lies below it has changed), EACCES. */
  mprotect(addr: bigint, length: number, prot: string): void {
    this.#driver.run('mprotect', this.task.mprotect(addr, length, prot));
  }

  /** mremap(2): grows, shrinks or moves. `oldLength` 0 maps what is shared there once more. Throws EINVAL, EFAULT, ENOMEM. */
  mremap(addr: bigint, oldLength: number, newLength: number, options: MremapOptions = {}): Mapping {
    return this.#driver.run('mremap', this.task.mremap(addr, oldLength, newLength, options));
  }

  /** fork(2): a process whose memory begins as a copy of this one's. Throws ENOMEM. */
  fork(options: { name?: string } = {}): AddressSpace {
    return this.#driver.run('fork', this.task.fork(options));
  }

  /** madvise(2). Throws EINVAL, EACCES, ENODEV, EAGAIN, EFAULT, EHWPOISON, ENOMEM. */
  madvise(addr: bigint, length: number, advice: Advice): void {
    this.#driver.run('madvise', this.task.madvise(addr, length, advice));
  }

  /** mlock(2): the pages are there at once, and advice may not take them away. Throws ENOMEM, EAGAIN. */
  mlock(addr: bigint, length: number): void {
    this.#driver.run('mlock', this.task.mlock(addr, length));
  }

  /** munlock(2). Throws ENOMEM. */
  munlock(addr: bigint, length: number): void {
    this.#driver.run('munlock', this.task.munlock(addr, length));
  }

  /**
   * pin_user_pages(): holds the pages, so that they outlive the mapping; truncate and punch of a DAX file wait for them. Fewer than
   * asked where a later page cannot be had. Throws EFAULT, EOPNOTSUPP (a long pin of a DAX file), ENOMEM.
   */
  pin(addr: bigint, length: number, options: PinOptions = {}): Pins {
    return this.#driver.run('pin', this.task.pin(addr, length, options));
  }

  /**
   * MADV_HWPOISON, MADV_SOFT_OFFLINE: the memory fails, or is replaced before it does. Returns the signal that the process gets for it at
   * once, if any. Throws EFAULT, EIO, EBUSY, EHWPOISON.
   */
  poison(addr: bigint, length: number, how: 'hwpoison' | 'softoffline' = 'hwpoison'): PoisonNotice | null {
    return this.#driver.run('poison', this.task.poison(addr, length, how));
  }

  /**
   * What the OOM reaper does to a process that is to die: private and anonymous memory goes, under invalidations that may not block; areas
   * that a mirror keeps are tried again, ten times. Later accesses of it are SIGBUS. Throws EFAULT.
   */
  oomReap(): OomReaped {
    return this.#driver.run('oomReap', this.task.oomReap());
  }

  /**
   * userfaultfd for missing pages: until `fillMissing` gives a page of the range its bytes, whoever touches it waits. hmm_range_fault() may
   * not, and answers EFAULT. Anonymous memory only: EINVAL.
   */
  registerMissing(addr: bigint, length: number): void {
    const vpn = checkPage('registerMissing', 'addr', addr);
    this.#driver.run('registerMissing', registerMissing(this.#space('registerMissing'), vpn, vpn + checkPages('registerMissing', 'length', vpn, length)));
  }

  /** Pages that somebody waits for, in the order in which they were touched. */
  get missing(): readonly { readonly addr: bigint; readonly write: boolean }[] {
    return Array.from(this.#space('missing').userFaults.values(), ({ vpn, write }) => ({ addr: addrOf(vpn), write }));
  }

  /** UFFDIO_COPY, or UFFDIO_ZEROPAGE without bytes: the page is there, and who waits for it goes on. Throws EEXIST, ENOENT, ENOMEM. */
  fillMissing(addr: bigint, bytes?: Uint8Array): void {
    this.#driver.run('fillMissing', this.task.fillMissing(addr, bytes));
  }

  /** Loads by the processor. Throws FaultSignal where the process would get SIGSEGV or SIGBUS, ENOMEM. */
  load(addr: bigint, length: number): Uint8Array {
    const target = new Uint8Array(checkBytes('load', 'length', length));
    this.#driver.run('load', this.task.load(addr, target));
    return target;
  }

  /** Stores by the processor. Throws as `load`. */
  store(addr: bigint, bytes: Uint8Array): void {
    this.#driver.run('store', this.task.store(addr, bytes));
  }

  /** The process ends: mirrors are released, everything is unmapped. */
  exit(): void {
    this.#driver.run('exit', this.task.exit());
  }

  [Symbol.dispose](): void {
    if (this.#driver.live && this.#mm.alive) this.exit();
  }

  /**
   * The physical address behind `addr`, or null where nothing is mapped. Looks only: no fault, no A or D bit. With `costs` (of
   * `createCosts`) it is a load by that CPU, counted there, and `costs.last` says what it cost.
   */
  translate(addr: bigint, options?: { readonly costs?: TranslateCosts }): bigint | null {
    const { vpn, within } = checkAddress('translate', 'addr', addr);
    const mm = this.#space('translate');
    if (options !== undefined) {
      checkOptions('translate', options, ['costs']);
      if (options.costs !== undefined) charge('translate', options.costs, mm.pageTable, vpn, 'load');
    }
    const pfn = vpn < mm.pageTable.endVpn ? mm.pageTable.translate(vpn, ACCESS_READ) : -1;
    return pfn < 0 ? null : BigInt(pfn * 4096 + within);
  }

  /**
   * A function that translates as `translate` does, by page numbers: for who makes millions. Keep it, and give each loop that calls it one of
   * its own: then V8 knows what it calls, and the walk is all that it costs.
   */
  translator(access: 'r' | 'w' = 'r'): Translator {
    const wanted = checkOneOf('translator', 'access', access, ['r', 'w']) === 'w' ? ACCESS_WRITE : ACCESS_READ;
    const mm = this.#space('translator');
    const driver = this.#driver;
    const { root, levels, endVpn } = mm.pageTable;
    const { translate } = mm.platform.arena.walker;
    return (vpn) => {
      if (!driver.live || !mm.alive) this.#space('translate'); // throws
      return vpn >= 0 && vpn < endVpn ? translate(root, levels, vpn, wanted) : -STOP_HOLE;
    };
  }

  /** A translator's answer for each of many pages, in one call. Throws ENOMEM when the arena has no room for 32 KiB. */
  translatePages(vpns: Float64Array, access: 'r' | 'w' = 'r'): Float64Array {
    const wanted = checkOneOf('translatePages', 'access', access, ['r', 'w']) === 'w' ? ACCESS_WRITE : ACCESS_READ;
    const { pageTable } = this.#space('translatePages');
    return pageTable.translatePages(checkVpns('translatePages', vpns, pageTable.endVpn, this.name), wanted);
  }

  /** The leaves that map `[start, end)`, lowest first; the space must not change between steps. */
  *walk(start: bigint, end: bigint): Generator<LeafInfo, void, void> {
    const first = checkAddress('walk', 'start', start).vpn;
    const last = Math.min(checkAddress('walk', 'end', end + 4095n).vpn, this.#mm.pageTable.endVpn);
    const { pageTable: pt, platform } = this.#space('walk');
    for (let vpn = first < last ? pt.nextEntry(first, last, 0) : -1; vpn >= 0; ) {
      pt.look(vpn);
      const { level, lo, hi } = pt;
      const npages = pagesOfLevel(Math.min(level, LEVEL_PUD));
      const base = alignDown(vpn, npages);
      if (isLeafEntry(level, lo)) {
        yield {
          addr: addrOf(base),
          pageSize: LEVEL_SIZES[level] as PageSize,
          pfn: BigInt(framePfn(lo, hi)),
          present: isPresent(level, lo),
          writable: isWritable(lo),
          dirty: isDirty(lo),
          accessed: (lo & PTE_ACCESSED) !== 0,
          devmap: platform.devmapHi !== 0 && (hi & platform.devmapHi) !== 0,
        };
      }
      vpn = base + npages >= last ? -1 : pt.nextEntry(base + npages, last, 0);
    }
  }

  /** The areas, lowest first. */
  areas(): AreaInfo[] {
    const areas: AreaInfo[] = [];
    const { vmas } = this.#space('areas');
    for (let vma = vmas.first(); vma !== null; vma = vmas.next(vma)) {
      areas.push({
        start: addrOf(vma.start),
        end: addrOf(vma.end),
        length: vma.npages * 4096,
        prot: protString(vma.flags),
        shared: vma.isShared,
        file: vma.file?.inode.name ?? null,
        offset: vma.file === null ? 0 : vma.pgoff * 4096,
      });
    }
    return areas;
  }

  /** Bytes of page tables in use, the top one included. */
  get tableBytes(): number {
    return this.#space('tableBytes').pageTable.frames * 4096;
  }

  /** Arena offset of the top table, for a walker of one's own (src/abi.ts draws the entries). */
  get tableRoot(): number {
    return this.#space('tableRoot').pageTable.root;
  }

  /** @internal */
  get driver(): Driver {
    return this.#driver;
  }

  /** @internal */
  get mm(): Mm {
    return this.#space('mirror');
  }

  *#mmap(what: Mappable | null, options: MmapOptions): Sleepable<Mapping> {
    checkOptions('mmap', options, ['length', 'prot', 'shared', 'offset', 'at', 'fixed', 'sync', 'smallPages']);
    const { at, fixed = 'hint', offset = 0, sync = false, smallPages = false } = options;
    const wanted = at === undefined ? null : mmapAddress(at, fixed);
    const npages = checkPages('mmap', 'length', wanted ?? 0, options.length);
    checkBytes('mmap', 'offset', offset);
    if (offset % 4096 !== 0) throw new HmmError('EINVAL', 'mmap', `offset ${offset} is not page aligned`);
    checkOneOf('mmap', 'fixed', fixed, ['hint', 'fixed', 'noreplace']);
    const start = yield* mmap(this.#space('mmap'), {
      npages,
      prot: protOf('mmap', options.prot ?? 'rw'),
      shared: options.shared ?? what !== null,
      file: what?.mappedFile() ?? null,
      pgoff: offset / 4096,
      start: wanted,
      fixed,
      sync,
      vmFlags: smallPages ? VM_NOHUGEPAGE : 0,
    });
    return { start: addrOf(start), end: addrOf(start + npages), length: npages * 4096 };
  }

  *#mremap(addr: bigint, oldLength: number, newLength: number, options: MremapOptions): Sleepable<Mapping> {
    checkOptions('mremap', options, ['mayMove', 'to', 'dontunmap']);
    const { mayMove = true, to, dontunmap = false } = options;
    checkBoolean('mremap', 'mayMove', mayMove);
    checkBoolean('mremap', 'dontunmap', dontunmap);
    const start = checkPage('mremap', 'addr', addr);
    const newPages = checkPages('mremap', 'newLength', start, newLength);
    const at = yield* mremap(this.#space('mremap'), {
      start,
      oldPages: oldLength === 0 ? 0 : checkPages('mremap', 'oldLength', start, oldLength),
      newPages,
      mayMove,
      to: to === undefined ? null : checkPage('mremap', 'to', to),
      dontunmap,
    });
    return { start: addrOf(at), end: addrOf(at + newPages), length: newPages * 4096 };
  }

  *#pin(addr: bigint, length: number, options: PinOptions): Sleepable<Pins> {
    checkOptions('pin', options, ['write', 'longterm']);
    const { write = false, longterm = false } = options;
    checkBoolean('pin', 'write', write);
    checkBoolean('pin', 'longterm', longterm);
    const vpn = checkPage('pin', 'addr', addr);
    const mm = this.#space('pin');
    const { err, pfns } = yield* pinUserPages(mm, vpn, checkPages('pin', 'length', vpn, length), { write, longterm });
    if (err !== null) throw new HmmError(err, 'pin', 'no page can be had', addr);
    return new Pins(this.#driver, mm, pfns);
  }

  *#poison(addr: bigint, length: number, how: 'hwpoison' | 'softoffline'): Sleepable<PoisonNotice | null> {
    const vpn = checkPage('poison', 'addr', addr);
    checkOneOf('poison', 'how', how, ['hwpoison', 'softoffline']);
    const { err, signal } = yield* madviseInject(this.#space('poison'), vpn, checkPages('poison', 'length', vpn, length), how);
    if (err !== null) throw new HmmError(err, 'poison', 'a page cannot be taken out of use', addr);
    return signal === null ? null : { addr: addrOf(signal.vpn), lsb: signal.lsb };
  }

  *#fork(options: { name?: string }): Sleepable<AddressSpace> {
    checkOptions('fork', options, ['name']);
    const mm = this.#space('fork');
    return new AddressSpace(this.#driver, yield* this.#driver.core.fork(mm, options.name ?? `${this.name}'s child`));
  }

  #space(op: string): Mm {
    this.#driver.check(op);
    if (!this.#mm.alive) throw new HmmError('EFAULT', op, `process ${this.name} has exited`);
    return this.#mm;
  }
}

/** A hint is rounded down to its page; a demand must be on one. */
function mmapAddress(at: bigint, fixed: string): number {
  return fixed === 'hint' ? checkAddress('mmap', 'at', at).vpn : checkPage('mmap', 'at', at);
}

function protOf(op: string, prot: unknown): number {
  if (typeof prot !== 'string' || !/^[rwx-]*$/.test(prot)) throw new TypeError(`${op}: prot must be made of r, w and x, not ${describe(prot)}`);
  return (prot.includes('r') ? VM_READ : 0) | (prot.includes('w') ? VM_WRITE : 0) | (prot.includes('x') ? VM_EXEC : 0);
}
