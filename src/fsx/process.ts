/**
 * A process of the exerciser: its areas, one for each file, and what it may do where; its accessors.
 *
 * Where it has lost the right that an access needs, the access is tried all the same and must be refused; then the right is given back.
 */
import { ACCESS_READ } from '../abi.ts';
import { Deadlock, HmmError } from '../errno.ts';
import type { Checker } from '../check/index.ts';
import { VM_NOHUGEPAGE, VM_READ, VM_WRITE, mmap, mprotect, msync, munmap, type MappedFile, type Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { pagesFor, type Vpn } from '../units.ts';
import { newAccessor, type Accessor, type GuestArea } from './accessors.ts';
import { FsxFailure } from './failure.ts';
import type { AccessorName, Layout, Operation } from './operation.ts';

const FIRST_VPN: Vpn = 0x2000_0000_0000 / 4096;
/** areas stand 1 GiB apart */
const AREA_PAGES = 2 ** 18;

const UNMAPPED = 0;
const NONE = 1;
const READ = 2;
const WRITE = 3;
const RIGHTS = { none: NONE, r: READ, rw: WRITE } as const;

export class FsxProcess {
  readonly mm: Mm;
  readonly #layout: Layout;
  readonly #checker: Checker | null;
  readonly #areas: readonly GuestArea[];
  /** of each page of each area */
  readonly #rights: readonly Uint8Array[];
  readonly #synchronous: boolean[] = [];
  readonly #accessors = new Map<AccessorName, Accessor>();

  constructor(mm: Mm, layout: Layout, checker: Checker | null) {
    this.mm = mm;
    this.#layout = layout;
    this.#checker = checker;
    const npages = pagesFor(layout.fileBytes);
    this.#areas = Array.from({ length: layout.files }, (_, i) => ({ vpn: FIRST_VPN + i * AREA_PAGES, npages }));
    this.#rights = this.#areas.map(() => new Uint8Array(npages));
  }

  vpnOf(file: number): Vpn {
    return (this.#areas[file] as GuestArea).vpn;
  }

  /** Made when it is first asked for. */
  accessor(by: AccessorName): Accessor {
    let accessor = this.#accessors.get(by);
    if (accessor === undefined) {
      accessor = newAccessor(by, this.mm, this.#areas);
      this.#accessors.set(by, accessor);
      if (accessor.watched !== null) this.#checker?.watch(accessor.watched);
    }
    return accessor;
  }

  /** An accessor of a child of this process, whose areas lie where this one's do. */
  childAccessor(by: AccessorName, child: Mm): Accessor {
    return newAccessor(by, child, this.#areas);
  }

  /** Maps the whole of the largest file, in place of what is mapped there. */
  *map(file: number, mapped: MappedFile, sync: boolean): Sleepable<void> {
    const { vpn, npages } = this.#areas[file] as GuestArea;
    const vmFlags = this.#layout.page === '4K' ? VM_NOHUGEPAGE : 0;
    yield* mmap(this.mm, { npages, prot: VM_READ | VM_WRITE, shared: true, file: mapped, pgoff: 0, start: vpn, fixed: 'fixed', sync, vmFlags });
    this.#rightsOf(file).fill(WRITE);
    this.#synchronous[file] = sync;
  }

  /** Is the file mapped with MAP_SYNC? */
  isSynchronous(file: number): boolean {
    return this.#synchronous[file] === true;
  }

  /** clwb of bytes that are mapped, and sfence. */
  flush(file: number, offset: number, length: number): void {
    const { persistence } = this.mm.platform;
    for (let done = 0; persistence !== null && done < length; ) {
      const at = offset + done;
      const n = Math.min(length - done, 4096 - (at % 4096));
      const pfn = this.mm.pageTable.translate(this.vpnOf(file) + Math.floor(at / 4096), ACCESS_READ);
      if (pfn >= 0) persistence.flush(pfn * 4096 + (at % 4096), n);
      done += n;
    }
    persistence?.fence();
  }

  *unmap(file: number, { offset, length }: Operation): Sleepable<void> {
    const { first, end } = this.#pages(offset, length);
    if (first >= end) return;
    yield* munmap(this.mm, this.vpnOf(file) + first, end - first);
    this.#rightsOf(file).fill(UNMAPPED, first, end);
  }

  *protect(file: number, mapped: MappedFile, { offset, length, prot }: Operation): Sleepable<void> {
    const { first, end } = this.#pages(offset, length);
    if (first >= end) return;
    if (this.#rightsOf(file).includes(UNMAPPED)) yield* this.map(file, mapped, false);
    yield* mprotect(this.mm, this.vpnOf(file) + first, end - first, prot === 'none' ? 0 : prot === 'r' ? VM_READ : VM_READ | VM_WRITE);
    this.#rightsOf(file).fill(RIGHTS[prot], first, end);
  }

  /** False: part of it is not mapped, and nothing was done. */
  *sync(file: number, { offset, length }: Operation): Sleepable<boolean> {
    const { first, end } = this.#pages(offset, length);
    if (first >= end || this.#rightsOf(file).subarray(first, end).includes(UNMAPPED)) return false;
    yield* msync(this.mm, this.vpnOf(file) + first, end - first, 'sync');
    return true;
  }

  /** Makes bytes of the file accessible, after the access has been refused where it ought to be. Throws FsxFailure 'let through'. */
  *ensure(file: number, mapped: MappedFile, access: { offset: number; length: number; write: boolean; by: AccessorName }): Sleepable<void> {
    const { offset, length, write, by } = access;
    const rights = this.#rightsOf(file);
    const need = write ? WRITE : READ;
    const last = Math.floor((offset + length - 1) / 4096);
    for (let page = Math.floor(offset / 4096); page <= last; page++) {
      if ((rights[page] as number) >= need) continue;
      yield* this.#refused(file, page, Math.max(offset - page * 4096, 0), write, by);
      yield* this.restore(file, mapped);
      return;
    }
  }

  /** All rights back, everywhere. */
  *restore(file: number, mapped: MappedFile): Sleepable<void> {
    const rights = this.#rightsOf(file);
    if (rights.includes(UNMAPPED)) yield* this.map(file, mapped, this.#layout.power !== 'off');
    else if (rights.some((right) => right !== WRITE)) yield* mprotect(this.mm, this.vpnOf(file), rights.length, VM_READ | VM_WRITE);
    rights.fill(WRITE);
  }

  /** The access, which must not succeed. */
  *#refused(file: number, page: number, within: number, write: boolean, by: AccessorName): Sleepable<void> {
    const vpn = this.vpnOf(file) + page;
    try {
      if (write) yield* this.accessor(by).write(vpn, within, PROBE);
      else yield* this.accessor(by).read(vpn, within, PROBE);
    } catch (error) {
      if (HmmError.is(error) && !(error instanceof Deadlock)) return;
      throw error;
    }
    const right = ['not mapped', 'PROT_NONE', 'read only'][this.#rightsOf(file)[page] as number] as string;
    throw new FsxFailure('let through', `${by} ${write ? 'stored to' : 'loaded from'} page 0x${page.toString(16)} of file${file}, which is ${right} in ${this.mm.name}`);
  }

  #rightsOf(file: number): Uint8Array {
    return this.#rights[file] as Uint8Array;
  }

  #pages(offset: number, length: number): { first: number; end: number } {
    return { first: Math.floor(offset / 4096), end: Math.min(pagesFor(this.#layout.fileBytes), pagesFor(offset + length)) };
  }
}

const PROBE = new Uint8Array(1);
