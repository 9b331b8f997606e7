/**
 * dev_pagemap: the life of a range of device frames (mm/memremap.c).
 *
 * live -> killed (no new reference; those taken stay) -> draining -> dead (frames gone). `drain` blocks until every
 * reference has been put back, without a timeout, as memunmap_pages() does from v5.2 on. The ledger knows who holds how
 * many, so that a leak has a name. The walker sees the same states through the arena's pgmap table.
 */
import { PGMAP_BASE, PGMAP_DYING, PGMAP_END, PGMAP_ID, PGMAP_LIVE, PGMAP_MAX, PGMAP_STATE, PGMAP_STRIDE, PGMAP_TABLE, HDR_PGMAP_COUNT } from '../abi.ts';
import type { Arena } from '../arena/index.ts';
import { HmmError, KernelCrash, invariant } from '../errno.ts';
import type { EventBus } from '../events/events.ts';
import type { PageRecords, Ram } from '../page/index.ts';
import type { BugSwitch } from '../profile/index.ts';
import { WaitQueue, type Scheduler, type Sleepable } from '../sched/index.ts';
import { hex, type Pfn } from '../units.ts';

export type PgMapType = 'fs-dax' | 'device-dax' | 'private' | 'coherent';
export type PgMapState = 'live' | 'killed' | 'draining' | 'dead';

/** What the driver of device memory does for its pages (struct dev_pagemap_ops). */
export interface PgMapOps {
  /** the page's last reference is gone */
  pageFree(pfn: Pfn): void;
  /** device-private memory: the CPU touched the page; brings it back to RAM. Answers VM_FAULT_ bits. */
  migrateToRam?(fault: DeviceFault): Sleepable<number>;
}

/** A fault of the CPU on device-private memory, as its driver sees it. */
export interface DeviceFault {
  /** the area, a Vma of the mm room */
  readonly vma: object;
  readonly vpn: number;
  readonly pfn: Pfn;
  /** the core holds a reference on it meanwhile */
  readonly held: boolean;
}

export class PgMap {
  readonly id: number;
  readonly name: string;
  readonly type: PgMapType;
  readonly basePfn: Pfn;
  readonly npages: number;
  state: PgMapState = 'live';
  /** whose device memory it is: what drivers name to migrate and to see it */
  owner: object | null = null;
  ops: PgMapOps | null = null;
  /** references taken beyond the base (the bias and one a page): GUP, get_dev_pagemap(), device pages */
  refs = 0;
  /** references on its pages beyond the idle one: pins */
  heldPages = 0;
  /** pages of one compound page: counts are its first page's */
  compoundPages = 1;
  readonly #holders = new Map<string, number>();

  constructor(id: number, name: string, type: PgMapType, basePfn: Pfn, npages: number) {
    this.id = id;
    this.name = name;
    this.type = type;
    this.basePfn = basePfn;
    this.npages = npages;
  }

  covers(pfn: Pfn): boolean {
    return pfn >= this.basePfn && pfn < this.basePfn + this.npages;
  }

  /** Takes a reference for `place`; false once the pagemap is dying. */
  tryGet(place: string): boolean {
    if (this.state !== 'live') return false;
    this.refs++;
    this.#holders.set(place, (this.#holders.get(place) ?? 0) + 1);
    return true;
  }

  put(place: string): void {
    const held = this.#holders.get(place) ?? 0;
    invariant(held > 0, `pgmap ${this.name}: ${place} puts a reference it does not hold`);
    this.refs--;
    if (held === 1) this.#holders.delete(place);
    else this.#holders.set(place, held - 1);
  }

  /** Who holds references beyond the base, and how many. */
  get holders(): ReadonlyMap<string, number> {
    return this.#holders;
  }
}

/** All pagemaps of a machine, by frame. */
export class PgMaps {
  readonly #arena: Arena;
  readonly #sched: Scheduler;
  readonly #bus: EventBus;
  readonly #records: PageRecords;
  readonly #bugs: ReadonlySet<BugSwitch>;
  readonly #drained = new WaitQueue('dev_pagemap drain', '*');
  /** sorted by base, as in the arena's table */
  #maps: PgMap[] = [];
  /** those that are gone: their frames are nobody's, and known by the name still */
  #gone: PgMap[] = [];
  /** goes up when a pagemap comes, goes, or cannot be referenced any more */
  changes = 0;
  #nextId = 1;

  constructor(arena: Arena, sched: Scheduler, bus: EventBus, ram: Ram, records: PageRecords, bugs: ReadonlySet<BugSwitch>) {
    this.#bugs = bugs;
    this.#records = records;
    ram.freeDevicePage = (pfn) => this.#freePage(pfn);
    this.#arena = arena;
    this.#sched = sched;
    this.#bus = bus;
  }

  get all(): readonly PgMap[] {
    return this.#maps;
  }

  /** memremap_pages(): registers frames. Throws ENOMEM when a live map owns some of them or the table is full. */
  register(name: string, type: PgMapType, basePfn: Pfn, npages: number): PgMap {
    if (this.#maps.length >= PGMAP_MAX) throw new HmmError('ENOMEM', 'memremap_pages', `more than ${PGMAP_MAX} pagemaps`);
    if (this.#maps.some((map) => map.basePfn < basePfn + npages && basePfn < map.basePfn + map.npages)) {
      throw new HmmError('ENOMEM', 'memremap_pages', `frames from ${hex(basePfn)} on belong to a live pagemap`);
    }
    const map = new PgMap(this.#nextId++, name, type, basePfn, npages);
    this.#maps = [...this.#maps, map].sort((a, b) => a.basePfn - b.basePfn);
    this.#publish();
    return map;
  }

  /** A pagemap of memory that the kernel migrates pages to, in the hands of a driver. */
  registerMemory(name: string, type: 'private' | 'coherent', basePfn: Pfn, npages: number, owner: object, ops: PgMapOps): PgMap {
    const map = this.register(name, type, basePfn, npages);
    map.owner = owner;
    map.ops = ops;
    return map;
  }

  /** zone_device_page_init(): a free page of device memory is taken into use, with one reference. */
  initPage(map: PgMap, pfn: Pfn): void {
    const counted = this.#bugs.has('device-page-uncounted') || map.tryGet('device pages');
    invariant(counted, `page ${hex(pfn)} of ${map.name}, which is going away, is taken into use`);
    this.#records.addRefs(pfn, 1);
  }

  /** The name of the device that a frame is of, or was until it went away; null for RAM. */
  nameOf(pfn: Pfn): string | null {
    return (this.find(pfn) ?? this.#gone.findLast((map) => map.covers(pfn)))?.name ?? null;
  }

  /** The pagemap of a frame, dying or not. */
  find(pfn: Pfn): PgMap | null {
    const maps = this.#maps;
    let low = 0;
    let high = maps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((maps[middle] as PgMap).basePfn <= pfn) low = middle + 1;
      else high = middle;
    }
    const map = maps[low - 1];
    return map !== undefined && map.covers(pfn) ? map : null;
  }

  /** The map at `index` of the arena's table, which is how the walker names one. */
  at(index: number): PgMap {
    const map = this.#maps[index];
    invariant(map !== undefined, `no pgmap at ${index}`);
    return map;
  }

  indexOf(map: PgMap): number {
    return this.#maps.indexOf(map);
  }

  /** get_dev_pagemap() without a cached map: takes a reference, or null when there is none or it is dying. */
  get(pfn: Pfn, place: string): PgMap | null {
    const map = this.find(pfn);
    return map !== null && map.tryGet(place) ? map : null;
  }

  put(map: PgMap, place: string): void {
    map.put(place);
  }

  /** From here on no reference can be taken. */
  kill(map: PgMap): void {
    invariant(map.state === 'live', `pgmap ${map.name} is killed twice`);
    this.#enter(map, 'killed');
    this.#publish();
  }

  /** Undoes `kill`, as long as nothing more has happened: what a debugger can do, and no kernel does. */
  revive(map: PgMap): void {
    invariant(map.state === 'killed', `pgmap ${map.name} is ${map.state} and cannot be revived`);
    this.#enter(map, 'live');
    this.#publish();
  }

  /** memunmap_pages(): kills, waits until all references are back, `pages`: those on its pages too, takes the frames away. */
  *drain(map: PgMap, pages = false): Sleepable<void> {
    if (map.state === 'live') this.kill(map);
    this.#enter(map, 'draining');
    if (!this.#bugs.has('pagemap-gone-early')) yield* this.#drained.wait(this.#sched, () => map.refs === 0 && (!pages || map.heldPages === 0));
    if (map.heldPages > 0 && !pages && this.#bus.on) this.#bus.emit({ type: 'breach', rule: 'page-references', field: 'drainWaitsForPages', mm: 0, start: 0, end: 0 });
    this.#enter(map, 'dead');
    this.#gone.push(map);
    this.#maps = this.#maps.filter((other) => other !== map);
    this.#publish();
  }

  reset(): void {
    this.#maps = [];
    this.#gone = [];
    this.#nextId = 1;
    this.#publish();
  }

  /** free_zone_device_page(): the driver has the page back, and the pagemap its reference. */
  #freePage(pfn: Pfn): void {
    const map = this.find(pfn);
    if (map === null) throw new KernelCrash(`free_zone_device_page: page fault, frame ${hex(pfn)} has no struct page any more`);
    this.#records.clear(pfn);
    this.#arena.content.zero(pfn * 4096, 4096);
    map.ops?.pageFree(pfn);
    if (!this.#bugs.has('device-page-uncounted')) map.put('device pages');
  }

  #enter(map: PgMap, state: PgMapState): void {
    map.state = state;
    if (this.#bus.on) this.#bus.emit({ type: 'pgmap', pgmap: map.id, state });
  }

  /** Writes the arena's table, from which WASM and Workers read. */
  #publish(): void {
    this.changes++;
    const { u32, u64 } = this.#arena;
    this.#maps.forEach((map, i) => {
      const at = PGMAP_TABLE + i * PGMAP_STRIDE;
      u64[(at + PGMAP_BASE) >>> 3] = BigInt(map.basePfn) * 4096n;
      u64[(at + PGMAP_END) >>> 3] = BigInt(map.basePfn + map.npages) * 4096n;
      u32[(at + PGMAP_STATE) >>> 2] = map.state === 'live' ? PGMAP_LIVE : PGMAP_DYING;
      u32[(at + PGMAP_ID) >>> 2] = map.id;
    });
    u32[HDR_PGMAP_COUNT >>> 2] = this.#maps.length;
  }
}
