/**
 * A device's own memory (lib/test_hmm.c: dmirror_device, its chunks and dmirror_devmem_*): pages that migrate there and back.
 *
 * *Private* memory is out of the CPU's reach: who touches it has it brought back. *Coherent* memory is not, and is mapped as RAM is.
 * The device is the owner that its pagemap names: events of its own migrations carry it, and its walks see its pages. Pages are
 * handed out lowest first.
 */
import { HmmError } from '../errno.ts';
import type { DeviceFault, PgMap, Platform } from '../memremap/index.ts';
import {
  MIGRATE_PFN_MIGRATE, MIGRATE_PFN_WRITE, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MigratePages, VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_WRITE, letGo, migrateDeviceFinalize, migrateDevicePages,
  migrateDeviceRange, migrateVmaFinalize, migrateVmaPages, migrateVmaSetup, type MigrateVma, type Vma,
} from '../mm/index.ts';
import { RwLock, type Sleepable } from '../sched/index.ts';
import type { Pfn } from '../units.ts';
import type { DeviceMirror } from './device.ts';

export type DeviceMemoryType = 'private' | 'coherent';

export class DeviceMemory {
  readonly name: string;
  readonly platform: Platform;
  readonly type: DeviceMemoryType;
  readonly basePfn: Pfn;
  readonly npages: number;
  /** pages in use */
  used = 0;
  /** faults of the CPU on pages of it */
  faults = 0;
  /** views of address spaces that know its pages */
  readonly mirrors = new Set<DeviceMirror>();
  #pgmap: PgMap | null = null;
  /** the view that was closed last, with pages left behind */
  #leftBy: string | null = null;
  /** are new pages given out? */
  #open = false;
  readonly #taken: Uint8Array;
  /** all below are taken */
  #lowest = 0;
  /** over going up and down */
  readonly #lock: RwLock;

  constructor(platform: Platform, name: string, type: DeviceMemoryType, basePfn: Pfn, npages: number) {
    this.platform = platform;
    this.name = name;
    this.type = type;
    this.basePfn = basePfn;
    this.npages = npages;
    this.#taken = new Uint8Array(npages);
    this.#lock = new RwLock(`device memory ${name}`, '*');
    this.#remap();
  }

  /** A view of an address space through which this memory is used. */
  join(mirror: DeviceMirror): void {
    this.mirrors.add(mirror);
    this.#leftBy = null;
  }

  /** dmirror_fops_release(): a view goes, and with the last one what is still here goes back to RAM. */
  *leave(mirror: DeviceMirror): Sleepable<void> {
    if (!this.mirrors.delete(mirror) || this.mirrors.size > 0) return;
    if (this.platform.bugs.has('close-keeps-pages')) this.#leftBy = mirror.name;
    else if (this.used > 0) yield* this.evict();
  }

  /** False between down and up. */
  get isUp(): boolean {
    return this.#pgmap !== null;
  }

  covers(pfn: Pfn): boolean {
    return pfn >= this.basePfn && pfn < this.basePfn + this.npages;
  }

  /** Tells the device's views of `vma`'s space where the pages of a migration have gone. Between pages and finalize: they are locked. */
  *tellMirrors({ vma, start, end, src, dst }: MigrateVma): Sleepable<void> {
    const { sched } = this.platform;
    for (const mirror of this.mirrors) {
      if (mirror.mm !== vma?.mm) continue;
      if (!mirror.lock.tryWrite(sched)) yield* mirror.lock.write(sched);
      for (let i = 0; i < end - start; i++) {
        if (src.has(i, MIGRATE_PFN_MIGRATE)) mirror.moved(start + i, dst.pfn(i), src.has(i, MIGRATE_PFN_WRITE) || (src.pfn(i) < 0 && vma.has(VM_WRITE)));
        else mirror.drop(start + i, start + i + 1);
      }
      mirror.lock.writeUnlock(sched);
    }
  }

  /** A page in use, locked, with one reference; -1 where there is none left. */
  allocPage(): Pfn {
    const i = this.#open ? this.#taken.indexOf(0, this.#lowest) : -1;
    if (i < 0 || this.#pgmap === null) return -1;
    const pfn = this.basePfn + i;
    if (!this.platform.records.reserve(pfn)) return -1;
    this.#taken[i] = 1;
    this.#lowest = i + 1;
    this.used++;
    this.platform.pgmaps.initPage(this.#pgmap, pfn);
    this.platform.ledger?.took(pfn, 1, 'alloc_page of device memory');
    this.platform.pageLocks.tryLock(pfn);
    return pfn;
  }

  /** A locked page of RAM, or -1. */
  allocSystem(): Pfn {
    const pfn = this.platform.ram.alloc();
    if (pfn < 0) return -1;
    this.platform.ledger?.took(pfn, 1, 'alloc_page');
    this.platform.pageLocks.tryLock(pfn);
    return pfn;
  }

  /** Everything to RAM, page by page, by frame. Returns how many went. */
  *evict(): Sleepable<number> {
    if (this.#pgmap === null) return 0;
    const { platform, npages } = this;
    const src = new MigratePages(npages);
    const dst = new MigratePages(npages);
    yield* migrateDeviceRange(platform, src, this.basePfn, npages);
    for (let i = 0; i < npages; i++) if (src.pfn(i) >= 0 && src.has(i, MIGRATE_PFN_MIGRATE)) this.copyTo(dst, i, this.allocSystem(), src.pfn(i));
    migrateDevicePages(platform, src, dst, npages);
    const moved = src.flags.reduce((sum, flags) => sum + ((flags & MIGRATE_PFN_MIGRATE) === 0 ? 0 : 1), 0);
    migrateDeviceFinalize(platform, src, dst, npages);
    return moved;
  }

  /** memunmap_pages(): no new pages, and back when the last one in use is free. */
  *down(): Sleepable<void> {
    const { sched, pgmaps } = this.platform;
    yield* this.#lock.write(sched);
    try {
      if (this.#pgmap === null) return;
      this.#open = false;
      yield* pgmaps.drain(this.#pgmap);
      this.#pgmap = null;
    } finally {
      this.#lock.writeUnlock(sched);
    }
  }

  /** EEXIST while it is up. */
  *up(): Sleepable<void> {
    const { sched } = this.platform;
    yield* this.#lock.write(sched);
    try {
      if (this.#pgmap !== null) throw new HmmError('EEXIST', 'memremap_pages', `the memory of ${this.name} is there`);
      this.#remap();
    } finally {
      this.#lock.writeUnlock(sched);
    }
  }

  /** `to` is where page `i` goes, with the bytes of `from` (-1: zeroes); nothing happens where `to` is -1, or there is no room for the bytes. */
  copyTo(dst: MigratePages, i: number, to: Pfn, from: Pfn): void {
    const { arena, pageLocks } = this.platform;
    if (to < 0) return;
    if (from < 0 || arena.content.copy(to * 4096, from * 4096, 4096)) {
      dst.setPage(i, to, 0);
      return;
    }
    pageLocks.unlock(to);
    letGo(this.platform, to);
  }

  /** The CPU touched a page of private memory: it goes back to RAM. */
  *#migrateToRam({ vma, vpn, pfn, held }: DeviceFault): Sleepable<number> {
    this.faults++;
    const { bus } = this.platform;
    if (bus.on) bus.emit({ type: 'driver-used', mm: (vma as Vma).mm.id, what: `migrate_to_ram() of ${this.name}`, whose: this.#leftBy ?? this.name, freed: this.#leftBy === null ? null : 'which was closed' });
    const m: MigrateVma = {
      vma: vma as Vma, start: vpn, end: vpn + 1, owner: this, select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE, faultPage: held ? pfn : -1,
      src: new MigratePages(1), dst: new MigratePages(1), cpages: 0,
    };
    if ((yield* migrateVmaSetup(m)) !== null) return VM_FAULT_SIGBUS;
    if (m.cpages > 0) {
      this.copyTo(m.dst, 0, this.allocSystem(), m.src.pfn(0));
      if (m.dst.pfn(0) >= 0) yield* migrateVmaPages(m);
      else m.src.giveUp(0);
      yield* this.tellMirrors(m);
    }
    const failed = m.cpages > 0 && m.dst.pfn(0) < 0;
    migrateVmaFinalize(m);
    return failed ? VM_FAULT_OOM : 0;
  }

  #remap(): void {
    const { pgmaps } = this.platform;
    this.#pgmap = pgmaps.registerMemory(this.name, this.type, this.basePfn, this.npages, this, {
      pageFree: (pfn) => this.#pageFree(pfn),
      ...(this.type === 'private' ? { migrateToRam: (fault: DeviceFault) => this.#migrateToRam(fault) } : {}),
    });
    this.#open = true;
  }

  #pageFree(pfn: Pfn): void {
    const i = pfn - this.basePfn;
    this.#taken[i] = 0;
    this.#lowest = Math.min(this.#lowest, i);
    this.used--;
  }
}
