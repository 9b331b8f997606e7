/**
 * Virtual memory areas: what a range of addresses is, and who serves its faults (include/linux/mm_types.h).
 *
 * Bounds are page numbers `[start, end)`. Flags are the kernel's VM_ bits, as far as they matter here.
 */
import type { ErrnoCode } from '../errno.ts';
import type { Mappable } from '../fs/index.ts';
import type { IntervalNode } from '../interval.ts';
import type { AnonVma } from '../page/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import type { AnonLink } from './anonVma.ts';
import type { FileCalls } from './file.ts';
import type { Mm } from './mm.ts';

export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
export const VM_UFFD_MISSING = 0x200;
export const VM_PFNMAP = 0x400;
export const VM_LOCKED = 0x2000;
export const VM_IO = 0x4000;
export const VM_DONTCOPY = 0x20000;
export const VM_DONTEXPAND = 0x40000;
export const VM_NORESERVE = 0x200000;
/** its pages are accounted for as memory that may be needed */
export const VM_ACCOUNT = 0x100000;
export const VM_HUGETLB = 0x400000;
export const VM_SYNC = 0x800000;
export const VM_WIPEONFORK = 0x2000000;
export const VM_SOFTDIRTY = 0x8000000;
export const VM_MIXEDMAP = 0x10000000;
export const VM_HUGEPAGE = 0x20000000;
export const VM_NOHUGEPAGE = 0x40000000;
export const VM_MERGEABLE = 0x80000000;
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP;
/** the rights that mprotect changes */
export const VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC;

// What a fault came to (vm_fault_t)
export const VM_FAULT_OOM = 0x1;
export const VM_FAULT_SIGBUS = 0x2;
export const VM_FAULT_MAJOR = 0x4;
export const VM_FAULT_HWPOISON = 0x10;
export const VM_FAULT_SIGSEGV = 0x40;
export const VM_FAULT_NOPAGE = 0x100; // the entry is in place, or the access has to be tried again
export const VM_FAULT_RETRY = 0x400; // mmap_lock was dropped
export const VM_FAULT_FALLBACK = 0x800; // not at this size: try a smaller one
export const VM_FAULT_DONE_COW = 0x1000;
export const VM_FAULT_NEEDDSYNC = 0x2000;
export const VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_HWPOISON | VM_FAULT_SIGSEGV | VM_FAULT_FALLBACK;

// How it was asked for
export const FAULT_FLAG_WRITE = 1;
export const FAULT_FLAG_REMOTE = 2;
export const FAULT_FLAG_ALLOW_RETRY = 4;
export const FAULT_FLAG_USER = 8;
export const FAULT_FLAG_UNSHARE = 16; // a read-only anonymous page is to become the process's alone

/** One fault on its way. */
export interface Vmf {
  readonly vma: Vma;
  readonly vpn: Vpn;
  /** page of the file behind vpn */
  readonly pgoff: number;
  readonly flags: number;
  /** with VM_FAULT_NEEDDSYNC: the frame to map once the metadata is durable */
  syncPfn: number;
  syncLevel: number;
}

/** Answer of the quick fault path: the fault would have to wait, or to tell a mirror, and nothing has changed: go the long way. */
export const FAULT_SLEEPS = -1;

/** What a driver or a file system does for its mappings (struct vm_operations_struct). mm calls these and knows nothing of dax. */
export interface VmOps {
  readonly name: string;
  /** the VMA is one of a DAX file or device: pages without a normal struct page, huge entries of its own */
  readonly dax: boolean;
  /** it maps ordinary pages, with a reference and a mapping counted for each entry */
  readonly countsPages?: boolean;
  /** pages of it that are to be reclaimed could only go to swap */
  readonly swapBacked?: boolean;
  /** `fault` or `hugeFault` where it takes neither a wait nor a notifier; else FAULT_SLEEPS. Called only while nobody else can run. */
  quickFault(vmf: Vmf, level: number): number;
  fault(vmf: Vmf): Sleepable<number>;
  /** LEVEL_PMD or LEVEL_PUD; VM_FAULT_FALLBACK: not at this size */
  hugeFault?(vmf: Vmf, level: number): Sleepable<number>;
  /** a shared mapping's read-only entry without a normal page is to become writable */
  pfnMkwrite?(vmf: Vmf): Sleepable<number>;
  /** a shared mapping's read-only entry of an ordinary page is to become writable */
  pageMkwrite?(vmf: Vmf): Sleepable<number>;
  /** the file, and the page of it, that a device page says it belongs to, where that need not be what maps it */
  pageOwner?(pfn: Pfn): { readonly inode: Mappable; readonly index: number } | 'nobody' | null;
  /** (shmem) makes the 2 MiB from `base` on one page: an errno, or null */
  collapse?(vma: Vma, base: Vpn): Sleepable<ErrnoCode | null>;
  /** (hugetlb) serves every fault of its areas by itself */
  faultWhole?(vma: Vma, vpn: Vpn, flags: number): Sleepable<number>;
  /** (hugetlb) the file of huge pages */
  readonly hugetlb?: object;
  /** the area is gone */
  close?(vma: Vma): void;
  /** may the VMA be split at `vpn`? */
  maySplit?(vma: Vma, vpn: Vpn): boolean;
}

/** An open file as mmap sees it. */
export interface MappedFile {
  readonly inode: Mappable;
  readonly writable: boolean;
  /** null: an area of it is served as anonymous memory */
  readonly vmOps: VmOps | null;
  /** VM_ flags that mapping it sets */
  readonly vmFlags: number;
  /** pages that start and length of a mapping must be multiples of; 1 for anything */
  readonly alignPages: number;
  /** pages to a multiple of which the length of a mapping is rounded up (default 1) */
  readonly roundPages?: number;
  /** what mmap maps in place of it, where it does */
  instead?(shared: boolean, npages: number): MappedFile | null;
  /** the area that maps it is in place */
  mapped?(vma: Vma): void;
  /** an area is about to map it; may refuse with ENOMEM */
  attach?(vma: Vma): void;
  /** pages to which the address is aligned when the caller leaves the choice */
  readonly preferPages: number;
  /** does it take MAP_SYNC? */
  readonly syncSupported: boolean;
  /** refuses a mapping: its errno, or null */
  refuses(shared: boolean, start: Vpn, npages: number, pgoff: number): ErrnoCode | null;
  /** the system calls on it, where it has any */
  readonly calls?: FileCalls;
  /** the last area that mapped it is gone */
  released?(): void;
}

export class Vma {
  readonly mm: Mm;
  start: Vpn;
  end: Vpn;
  flags: number;
  readonly file: MappedFile | null;
  /** page of the file (or, anonymous, of the space) at `start` */
  pgoff: number;
  readonly ops: VmOps | null;
  /** anon_vma: there since the area had a page of its own; neighbours whose pages belong together have the same */
  anonVma: AnonVma | null = null;
  /** its places in that and in those that it shares with what it was forked or split from */
  readonly anonLinks: AnonLink[] = [];
  /** what the file's room keeps of the area (vm_private_data); its pieces share it */
  privateData: object | null = null;
  /** its place in the file's interval tree */
  mapping: IntervalNode<unknown> | null = null;

  constructor(mm: Mm, start: Vpn, end: Vpn, flags: number, file: MappedFile | null, pgoff: number) {
    this.mm = mm;
    this.start = start;
    this.end = end;
    this.flags = flags;
    this.file = file;
    this.pgoff = pgoff;
    this.ops = file?.vmOps ?? null;
  }

  get npages(): number {
    return this.end - this.start;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  get isShared(): boolean {
    return (this.flags & VM_SHARED) !== 0;
  }

  /** Writes go to a copy: private and possibly writable. */
  get isCow(): boolean {
    return (this.flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE;
  }

  /** Entries may map pages whose mappings and references are counted: zapping has to look at each. */
  get countsPages(): boolean {
    return this.anonVma !== null || this.ops?.countsPages === true;
  }

  get isDax(): boolean {
    return this.ops !== null && this.ops.dax;
  }

  /** vma_is_fsdax(): of a DAX file, whose file system hears of first writes and may want its blocks back; not of a device. */
  get isFsDax(): boolean {
    return this.ops !== null && this.ops.dax && this.ops.pfnMkwrite !== undefined;
  }

  pgoffOf(vpn: Vpn): number {
    return this.pgoff + (vpn - this.start);
  }
}

/** 'rwx' with '-' for what is missing. */
export function protString(flags: number): string {
  return `${(flags & VM_READ) !== 0 ? 'r' : '-'}${(flags & VM_WRITE) !== 0 ? 'w' : '-'}${(flags & VM_EXEC) !== 0 ? 'x' : '-'}`;
}
