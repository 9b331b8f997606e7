/**
 * Files of huge pages (fs/hugetlbfs/inode.c), and the promises that areas hold on the pool (mm/hugetlb.c: reserve maps).
 *
 * A shared mapping's promises are the file's: one for each huge page of it that was ever mapped, used or not. A private mapping's are the
 * area's own: one for each huge page, until it is used; a child of fork has none. Indices are of huge pages.
 */
import { HmmError } from '../../errno.ts';
import { FILE_PAGES_MAX, Mappings, type Mappable } from '../../fs/index.ts';
import type { Platform } from '../../memremap/index.ts';
import { PAGE_CACHE, PAGE_HUGETLB, type HugePool } from '../../page/index.ts';
import { RwLock, type Sleepable } from '../../sched/index.ts';
import { alignDown, alignUp, type Pfn, type Vpn } from '../../units.ts';
import type { FallocMode } from '../file.ts';
import { eachMapping } from '../rmap.ts';
import { VM_MAYSHARE, VM_NORESERVE, type Vma } from '../vma.ts';
import { unmapHuge } from './unmap.ts';

/** What a private area keeps (vm_private_data); the pieces of a split one share it. */
export interface HugePromises {
  /** huge pages of which the promise has been used; null: it never had any */
  readonly used: Set<number> | null;
  /** a page of it was taken for the parent: what it faults from now on is refused */
  robbed: boolean;
}

export class HugeFile {
  readonly inode: Mappable & { name: string };
  readonly platform: Platform;
  readonly pool: HugePool;
  readonly id: number;
  /** pages in the file */
  readonly pages = new Map<number, Pfn>();
  /** huge pages for which shared mappings hold a promise, used or not */
  readonly promised = new Set<number>();
  size: number;
  /** over its entries, wherever it is mapped: a fault has it for reading (hugetlb_vma_lock_read) */
  readonly vmaLock: RwLock;
  /** open files */
  holders = 0;

  constructor(platform: Platform, name: string, pool: HugePool, size: number) {
    this.platform = platform;
    this.inode = { name, mappings: new Mappings(platform.sched, `hugetlb ${name}`, '*') };
    this.vmaLock = new RwLock(`vma_lock ${name}`, '*');
    this.pool = pool;
    this.size = size;
    this.id = platform.caches.add(this);
  }

  /** Bytes of a huge page. */
  get unit(): number {
    return this.pool.npages * 4096;
  }

  /** hugetlb_reserve_pages() for an area of huge pages `[first, end)`. ENOMEM. */
  reserve(vma: Vma, first: number, end: number): void {
    if (vma.has(VM_NORESERVE)) return;
    const wanted: number[] = [];
    for (let i = first; i < end; i++) if (!vma.has(VM_MAYSHARE) || !this.promised.has(i)) wanted.push(i);
    if (!this.pool.reserve(wanted.length)) throw new HmmError('ENOMEM', 'mmap', `${wanted.length} huge pages are not to be had`);
    if (!vma.has(VM_MAYSHARE)) vma.privateData = { used: new Set<number>(), robbed: false } satisfies HugePromises;
    else for (const i of wanted) this.promised.add(i);
  }

  /** hugetlb_vm_op_close(): what a private area was promised and has not used goes back. */
  close(vma: Vma): void {
    const promises = vma.privateData as HugePromises | null;
    if (vma.has(VM_MAYSHARE) || promises === null || promises.used === null) return;
    let unused = 0;
    for (let i = this.indexOf(vma, vma.start); i < this.indexOf(vma, vma.end); i++) if (!promises.used.has(i)) unused++;
    this.pool.unreserve(unused);
  }

  indexOf(vma: Vma, vpn: Vpn): number {
    return Math.floor(vma.pgoffOf(vpn) / this.pool.npages);
  }

  /** alloc_huge_page() for huge page `index` of an area; `avoidReserve`: not from its promises. -1: none to be had. */
  allocFor(vma: Vma, index: number, avoidReserve: boolean): Pfn {
    const promises = vma.privateData as HugePromises | null;
    const shared = vma.has(VM_MAYSHARE);
    const promised = !avoidReserve && (shared ? this.promised.has(index) : promises !== null && promises.used !== null && !promises.used.has(index));
    const pfn = this.pool.alloc(promised);
    if (pfn < 0) return -1;
    if (shared) this.promised.add(index);
    else promises?.used?.add(index);
    return pfn;
  }

  /** A page comes into the file. */
  insert(index: number, pfn: Pfn): void {
    this.platform.records.setOwner(pfn, PAGE_HUGETLB | PAGE_CACHE, this.id, index * this.pool.npages);
    this.pages.set(index, pfn);
  }

  /** remove_inode_hugepages(), hugetlb_unreserve_pages(): pages `[first, end)` and the promises for them go. */
  remove(first: number, end: number): void {
    for (const [index, pfn] of this.pages) {
      if (index < first || index >= end) continue;
      this.pages.delete(index);
      this.promised.delete(index); // used when the page came
      this.platform.ram.put(pfn);
    }
    for (const index of this.promised) {
      if (index < first || index >= end) continue;
      this.promised.delete(index);
      this.pool.unreserve(1);
    }
  }

  /** Nobody has it open or maps it any more. */
  evict(): void {
    if (this.holders > 0 || this.inode.mappings.size > 0) return;
    this.remove(0, Infinity);
    this.platform.caches.drop(this.id);
  }

  /** hugetlb_vmdelete_list(): what maps huge pages `[first, end)` is unmapped, private copies too. */
  *unmap(first: number, end: number): Sleepable<void> {
    const { npages } = this.pool;
    yield* eachMapping(this.inode, first * npages, Math.min(end * npages, FILE_PAGES_MAX), (vma, from, to) => unmapHuge(vma, from, to, 'alone'));
  }

  *truncate(size: number): Sleepable<void> {
    if (!Number.isSafeInteger(size) || size < 0 || size % this.unit !== 0) throw new HmmError('EINVAL', 'truncate', `${size} bytes are no whole huge pages`);
    const shorter = size < this.size;
    this.size = size;
    if (!shorter) return;
    yield* this.unmap(size / this.unit, 2 ** 40);
    this.remove(size / this.unit, Infinity);
  }

  *fallocate(mode: FallocMode, offset: number, length: number): Sleepable<void> {
    if (length <= 0 || offset < 0) throw new HmmError('EINVAL', 'fallocate', `offset ${offset} and length ${length}`);
    if (mode === 'punch') return yield* this.#punch(offset, offset + length);
    if (mode !== 'alloc' && mode !== 'keep') throw new HmmError('EOPNOTSUPP', 'fallocate', `hugetlbfs does not ${mode}`);
    for (let i = Math.floor(offset / this.unit); i < Math.ceil((offset + length) / this.unit); i++) {
      if (this.pages.has(i)) continue;
      const pfn = this.pool.alloc(this.promised.has(i));
      if (pfn < 0) throw new HmmError('ENOSPC', 'fallocate', 'no huge page left');
      this.promised.add(i);
      this.insert(i, pfn);
    }
    if (mode === 'alloc') this.size = Math.max(this.size, offset + length);
  }

  /** hugetlbfs_punch_hole(): whole huge pages go, the rest of the range is zeroed. */
  *#punch(offset: number, end: number): Sleepable<void> {
    const first = alignUp(offset, this.unit);
    const last = alignDown(end, this.unit);
    this.#zero(offset, Math.min(first, end));
    if (last > first) yield* this.unmap(first / this.unit, last / this.unit);
    if (end > last && last >= first) this.#zero(last, end);
    if (last > first) this.remove(first / this.unit, last / this.unit);
  }

  #zero(from: number, to: number): void {
    const pfn = this.pages.get(Math.floor(from / this.unit));
    if (pfn !== undefined && to > from) this.platform.arena.content.zero(pfn * 4096 + (from % this.unit), to - from);
  }

  read(offset: number, target: Uint8Array): number {
    const length = Math.max(0, Math.min(target.length, this.size - offset));
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const n = Math.min(length - done, this.unit - (at % this.unit));
      const pfn = this.pages.get(Math.floor(at / this.unit));
      if (pfn === undefined) target.fill(0, done, done + n);
      else this.platform.arena.content.read(pfn * 4096 + (at % this.unit), target, done, n);
      done += n;
    }
    return length;
  }
}
