/**
 * The guarantee as running checks: "anything done to the CPU page table is reflected to every mirror" (DESIGN, section 7).
 *
 * After each step, with nothing in flight: every entry that went, changed its frame or lost a right was within an invalidation of that
 * step; every entry of a mirror that is watched points where the CPU's does, with no more rights; invalidations are balanced; no entry
 * leads to blocks that no file has, or to a device that is gone; the references of dev_pagemaps are as they were. Where the profile
 * reproduces a real kernel's breach, the code that does so says which field it is: the finding is made all the same, and names it.
 */
import { LEVEL_PTE, LEVEL_PUD, PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import type { FileSystem } from '../fs/index.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import type { Mm } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import { framePfn, isLeaf, isWritable, type PageTable } from '../pgtable/index.ts';
import { alignDown, hex, pagesOfLevel, type Vpn } from '../units.ts';
import { Covered } from './covered.ts';
import { entryText, type Finding, type Rule } from './finding.ts';
import { entryAt } from './rights.ts';
import { Shadow, type Loss } from './shadow.ts';

/** What the checker looks at of a machine. */
export interface Checked {
  readonly platform: Platform;
  readonly mms: readonly Mm[];
}

/** A mirror whose own table is compared: a device's or a virtual machine's. */
export interface WatchedMirror {
  readonly name: string;
  readonly mm: Mm;
  readonly table: PageTable;
  /** false: it mirrors nothing any more */
  readonly attached: boolean;
  /** the process's page behind a page of the table; -1: none any more */
  readonly vpnOf: (page: Vpn) => Vpn | -1;
  /** invalidations that it counts as in flight, if it counts */
  readonly inProgress?: number;
}

export interface CheckerOptions {
  /** rules to leave out; default none */
  readonly without?: readonly Rule[];
  /** stop collecting after so many findings (default 100) */
  readonly findingsMax?: number;
}

interface Space {
  readonly mm: Mm;
  readonly shadow: Shadow;
  readonly covered: Covered;
}

interface Breach {
  readonly rule: string;
  readonly field: string;
  readonly mm: number;
  readonly start: Vpn;
  readonly end: Vpn;
}

export class Checker {
  readonly findings: Finding[] = [];
  /** pages invalidated, and those of them that no longer are what they were: the rest was told for nothing */
  invalidatedPages = 0;
  lostPages = 0;
  steps = 0;
  readonly #machine: Checked;
  readonly #options: CheckerOptions;
  readonly #spaces = new Map<number, Space>();
  readonly #mirrors: WatchedMirror[] = [];
  readonly #systems: FileSystem[] = [];
  /** of this step, and of all: what stays stays */
  #breaches: Breach[] = [];
  readonly #allBreaches: Breach[] = [];
  readonly #stop: () => void;

  constructor(machine: Checked, options: CheckerOptions = {}) {
    this.#machine = machine;
    this.#options = options;
    this.#stop = machine.platform.bus.observe((event) => this.#hear(event));
    for (const mm of machine.mms) this.#space(mm.id);
  }

  /** Compares the table of this mirror too, from now on. */
  watch(mirror: WatchedMirror): void {
    this.#mirrors.push(mirror);
  }

  /** Looks at which blocks the files of this file system have, too. */
  watchBlocks(fs: FileSystem): void {
    this.#systems.push(fs);
  }

  /** After an operation: everything is looked at that it may have changed. Returns what is new. */
  step(operation: string): readonly Finding[] {
    const first = this.findings.length;
    this.steps++;
    const task = this.#machine.platform.sched.current.name;
    for (const mm of this.#machine.mms) this.#checkSpace(this.#space(mm.id) as Space, operation, task);
    for (const mirror of this.#mirrors) if (mirror.attached) this.#checkMirror(mirror, operation, task);
    this.#breaches = [];
    return this.findings.slice(first);
  }

  /** Listens no longer. */
  close(): void {
    this.#stop();
  }

  // ── what is heard ──

  #hear(event: MachineEvent): void {
    if (event.type === 'invalidate-start') {
      this.#space(event.mm)?.covered.add(event.start, event.end);
      this.invalidatedPages += event.end - event.start;
    } else if (event.type === 'breach') {
      this.#breaches.push(event);
      this.#allBreaches.push(event);
    }
  }

  #space(id: number): Space | null {
    const known = this.#spaces.get(id);
    if (known !== undefined) return known;
    const mm = this.#machine.mms.find((one) => one.id === id);
    if (mm === undefined) return null;
    const space: Space = { mm, shadow: new Shadow(mm), covered: new Covered() };
    this.#spaces.set(id, space);
    return space;
  }

  // ── what is looked at ──

  #checkSpace(space: Space, operation: string, task: string): void {
    const { mm, covered } = space;
    if (mm.notifiers.active > 0 && this.#machine.platform.sched.tasks.some((one) => !one.finished)) return; // somebody is at work there
    for (const loss of space.shadow.refresh()) this.#checkLoss(space, loss, operation, task);
    covered.clear();
  }

  #checkLoss({ mm, covered }: Space, loss: Loss, operation: string, task: string): void {
    this.lostPages += loss.end - loss.start;
    for (let vpn = loss.start; vpn < loss.end; ) {
      if (covered.has(vpn)) {
        vpn++;
        continue;
      }
      let end = vpn + 1;
      while (end < loss.end && !covered.has(end)) end++;
      const { devmapBit } = mm.platform.profile;
      const i = vpn % PMD_PAGES;
      const was = entryText(entryAt(loss.before, i), devmapBit);
      const is = entryText(entryAt(loss.after, i), devmapBit);
      this.#find('told-before-taken', operation, task, mm, vpn, end, `${mm.name}: ${was} became ${is}, and nobody was told`, 'mmu_notifier_invalidate_range_start() over the range, before the change');
      vpn = end;
    }
  }

  /** Every leaf of the mirror's table against the CPU's. */
  #checkMirror(mirror: WatchedMirror, operation: string, task: string): void {
    const { table, mm } = mirror;
    for (let page = table.nextEntry(0, table.endVpn, LEVEL_PTE); page >= 0; ) {
      table.look(page);
      const { level, lo, hi } = table;
      const npages = level <= LEVEL_PUD ? pagesOfLevel(level) : 1;
      const base = alignDown(page, npages);
      if (isLeaf(level, lo)) this.#checkLeaf(mirror, base, { level, lo, hi }, operation, task);
      const next = base + npages;
      page = next >= table.endVpn ? -1 : table.nextEntry(next, table.endVpn, LEVEL_PTE);
    }
    this.#checkFrames(mirror.table, mm, mirror.name, operation, task);
  }

  #checkLeaf(mirror: WatchedMirror, base: Vpn, entry: { level: number; lo: number; hi: number }, operation: string, task: string): void {
    const { mm } = mirror;
    const pt = mm.pageTable;
    const pfn = framePfn(entry.lo, entry.hi);
    for (let i = 0; i < pagesOfLevel(entry.level); ) {
      const vpn = mirror.vpnOf(base + i);
      const present = vpn >= 0 && mm.alive && pt.look(vpn);
      const span = present ? pagesOfLevel(pt.level) - (vpn % pagesOfLevel(pt.level)) : 1;
      const frame = present ? framePfn(pt.lo, pt.hi) + (vpn % pagesOfLevel(pt.level)) : -1;
      if (frame !== pfn + i || (isWritable(entry.lo) && !isWritable(pt.lo))) {
        const { devmapBit } = mm.platform.profile;
        const cpu = present ? entryText(pt, devmapBit) : 'nothing';
        this.#find(
          'mirror-coherent', operation, task, mm, vpn < 0 ? base + i : vpn, (vpn < 0 ? base + i : vpn) + 1,
          `${mirror.name} has ${entryText(entry, devmapBit)} at page ${hex(base)}, where ${mm.name} has ${cpu}`,
          'the mirror drops its entry in invalidate, and programs only what readRetry() lets stand',
        );
        return;
      }
      i += span;
    }
  }

  /** No leaf leads to blocks that no file has, or to a device that is gone. */
  #checkFrames(table: PageTable, mm: Mm, whose: string, operation: string, task: string): void {
    const { pgmaps } = this.#machine.platform;
    for (let page = table.nextEntry(0, table.endVpn, LEVEL_PTE); page >= 0; ) {
      table.look(page);
      const { level, lo, hi } = table;
      const npages = level <= LEVEL_PUD ? pagesOfLevel(level) : 1;
      const base = alignDown(page, npages);
      const pfn = isLeaf(level, lo) ? framePfn(lo, hi) : -1;
      if (pfn >= DEVICE_BASE_PFN) {
        const map = pgmaps.find(pfn);
        const bad = map === null || map.state === 'dead' ? 'pagemap-alive' : this.#isFree(map, pfn, npages) ? 'blocks-owned' : null;
        const what = bad === 'blocks-owned' ? 'blocks that no file has' : 'a device that is gone';
        if (bad !== null) this.#find(bad, operation, task, mm, base, base + npages, `${whose}: ${entryText(table, mm.platform.profile.devmapBit)} leads to ${what}`, 'the entry goes before the page does');
      }
      const next = base + npages;
      page = next >= table.endVpn ? -1 : table.nextEntry(next, table.endVpn, LEVEL_PTE);
    }
  }

  #isFree(map: PgMap, pfn: number, npages: number): boolean {
    const fs = this.#systems.find((one) => one.pgmap === map);
    return fs !== undefined && fs.allocator.isFree(pfn, npages);
  }

  /** At rest, when a run is over: all tables against freed blocks and dead devices, and what began has ended. */
  end(operation: string): readonly Finding[] {
    const first = this.findings.length;
    const task = this.#machine.platform.sched.current.name;
    this.#breaches = [...this.#allBreaches];
    for (const mm of this.#machine.mms) {
      if (mm.alive) this.#checkFrames(mm.pageTable, mm, mm.name, operation, task);
      const { active } = mm.notifiers;
      if (active !== 0) this.#find('balanced', operation, task, mm, 0, 0, `${active} invalidations of ${mm.name} began and have not ended`, 'mmu_notifier_invalidate_range_end()');
    }
    for (const { mm, name, inProgress = 0 } of this.#mirrors) {
      if (inProgress > mm.notifiers.active) this.#find('balanced', operation, task, mm, 0, 0, `${name} counts ${inProgress} invalidations of which it never heard the end`, 'range_end() of every listener whose range_start() was called');
    }
    for (const map of this.#machine.platform.pgmaps.all) {
      if (map.state !== 'dead' && holdersText(map) !== '') {
        const [mm] = this.#machine.mms;
        if (mm !== undefined) this.#find('pagemap-references', operation, task, mm, 0, 0, `${map.name} has references that nobody will give back: ${holdersText(map)}`, 'put_dev_pagemap() on every way out of the walk');
      }
    }
    return this.findings.slice(first);
  }

  #find(rule: Rule, operation: string, task: string, mm: Mm, start: Vpn, end: Vpn, what: string, missing: string): void {
    const { without = [], findingsMax = 100 } = this.#options;
    if (without.includes(rule) || this.findings.length >= findingsMax) return;
    const known = this.#breaches.find((one) => one.rule === rule && (start === end || (one.mm === mm.id && one.start < end && start < one.end)));
    this.findings.push({ rule, operation, task, mm: mm.id, start, end, what, missing, knownBy: known?.field ?? null });
  }
}

/** Who took references and still has them: '2 by hmm_vma_walk'. Pages of device memory that are in use have theirs. */
function holdersText(map: PgMap): string {
  return Array.from(map.holders, ([place, count]) => (place === 'device pages' ? '' : `${count} by ${place}`)).filter((text) => text !== '').join(', ');
}
