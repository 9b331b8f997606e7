/**
 * Private copies of a file's pages (fs/dax.c: dax_layout_busy_page, which unmaps without even_cows): they are the process's own, and
 * outlive what happens to the blocks that they were copied from. Compared before and after, but for what others invalidate meanwhile.
 */
import { PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import type { Platform } from '../memremap/index.ts';
import type { Mm } from '../mm/index.ts';
import { DEVICE_BASE_PFN, PAGE_ANON } from '../page/index.ts';
import type { Task } from '../sched/index.ts';
import { addrOf, alignDown, hex, type Pfn, type Vpn } from '../units.ts';
import type { Report } from './finding.ts';
import { chunkNow, frameOf } from './rights.ts';
import type { Looked } from './rules.ts';

interface Copy {
  readonly mm: Mm;
  readonly vpn: Vpn;
  readonly frame: Pfn;
}

interface Breaking {
  readonly task: Task;
  copies: readonly Copy[];
}

export class Copies {
  readonly #platform: Platform;
  readonly #report: Report;
  readonly #looked: Looked;
  #open: Breaking[] = [];

  constructor(platform: Platform, report: Report, looked: Looked) {
    this.#platform = platform;
    this.#report = report;
    this.#looked = looked;
  }

  /** A layout is about to be broken; `spaceOf` finds a process. */
  begins({ areas }: Extract<MachineEvent, { type: 'layout-break' }>, spaceOf: (id: number) => Mm | null): void {
    const { current } = this.#platform.sched;
    const copies: Copy[] = [];
    for (const { mm: id, start, end } of areas) {
      const mm = spaceOf(id);
      if (mm !== null) this.#collect(mm, start, end, copies);
    }
    this.#open = [...this.#open.filter(({ task }) => task !== current), { task: current, copies }];
  }

  /** What others invalidate goes by them. */
  invalidated(mm: number, start: Vpn, end: Vpn): void {
    if (this.#open.length === 0) return;
    const { current } = this.#platform.sched;
    for (const one of this.#open) if (one.task !== current) one.copies = one.copies.filter((copy) => copy.mm.id !== mm || copy.vpn < start || copy.vpn >= end);
  }

  ends({ file }: Extract<MachineEvent, { type: 'layout-broken' }>): void {
    const { current } = this.#platform.sched;
    const one = this.#open.find(({ task }) => task === current);
    if (one === undefined) return;
    this.#open = this.#open.filter((other) => other !== one);
    for (const { mm, vpn, frame } of one.copies) {
      this.#looked['copies-kept']++;
      if (!mm.alive || frameOf(chunkNow(mm.pageTable, vpn), vpn % PMD_PAGES) === frame) continue;
      this.#report({
        rule: 'copies-kept', mm: mm.id, start: vpn, end: vpn + 1,
        what: `the private copy that ${mm.name} has of a page of ${file} at ${hex(addrOf(vpn))}, frame ${hex(frame)}, goes with the layout of the file: what was stored there is lost`,
        missing: 'unmap_mapping_range() without even_cows',
      });
    }
  }

  #collect(mm: Mm, start: Vpn, end: Vpn, copies: Copy[]): void {
    const { pageTable } = mm;
    const { walker } = pageTable.arena;
    for (let vpn = start; vpn < end; ) {
      const at = walker.nextEntry(pageTable.root, pageTable.levels, vpn, end, 0);
      if (at < 0) return;
      const upTo = Math.min(end, alignDown(at, PMD_PAGES) + PMD_PAGES);
      const chunk = chunkNow(pageTable, at);
      for (vpn = at; vpn < upTo; vpn++) {
        const frame = frameOf(chunk, vpn % PMD_PAGES);
        if (frame >= 0 && frame < DEVICE_BASE_PFN && (this.#platform.records.flags(frame) & PAGE_ANON) !== 0) copies.push({ mm, vpn, frame });
      }
    }
  }
}
