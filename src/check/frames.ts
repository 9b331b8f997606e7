/** No leaf, of the CPU or a mirror, leads to blocks that no file has, or to a device that is gone. */
import type { FileSystem } from '../fs/index.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import type { Mm } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import type { Vpn } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { entryAt, forEachRun, type Chunk } from './rights.ts';
import type { Looked } from './rules.ts';

export class Frames {
  readonly #platform: Platform;
  readonly #report: Report;
  readonly #looked: Looked;
  /** what has been told already stays true: rule, owner and page */
  readonly #known = new Set<string>();

  constructor(platform: Platform, report: Report, looked: Looked) {
    this.#platform = platform;
    this.#report = report;
    this.#looked = looked;
  }

  /** The leaves of one chunk of `whose` table. `vpnOf`: the process's page behind a page of it. */
  check(systems: readonly FileSystem[], mm: Mm, whose: string, base: Vpn, chunk: Chunk, vpnOf: (page: Vpn) => Vpn | -1): void {
    forEachRun(chunk, (i, npages, pfn) => {
      if (pfn < DEVICE_BASE_PFN) return;
      const map = this.#platform.pgmaps.find(pfn);
      this.#looked['pagemap-alive']++;
      if (map === null || map.state === 'dead') return this.#tell('pagemap-alive', 'a device that is gone', mm, whose, base, chunk, i, npages, vpnOf);
      const at = this.#firstFree(systems, map, pfn, npages);
      if (at >= 0) this.#tell('blocks-owned', 'blocks that no file has', mm, whose, base, chunk, i + at, npages - at, vpnOf);
    });
  }

  /** The first of frames in a row that no file has; -1: each is some file's. */
  #firstFree(systems: readonly FileSystem[], map: PgMap, pfn: number, npages: number): number {
    const fs = systems.find((one) => one.pgmap === map);
    if (fs === undefined) return -1;
    this.#looked['blocks-owned']++;
    if (fs.allocator.isUsed(pfn, npages)) return -1;
    for (let i = 0; i < npages; i++) if (fs.allocator.isFree(pfn + i)) return i;
    return -1;
  }

  #tell(rule: 'blocks-owned' | 'pagemap-alive', what: string, mm: Mm, whose: string, base: Vpn, chunk: Chunk, i: number, npages: number, vpnOf: (page: Vpn) => Vpn | -1): void {
    const key = `${rule} ${whose} ${base + i}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    const entry = entryText(entryAt(chunk, i), mm.platform.profile.devmapBit);
    const vpn = vpnOf(base + i);
    const start = vpn < 0 ? base + i : vpn;
    const side = whose === mm.name ? { cpu: entry } : { device: entry };
    this.#report({ rule, mm: mm.id, start, end: start + npages, what: `${whose}: ${entry} leads to ${what}`, missing: 'the entry goes before the page does', ...side });
  }
}
