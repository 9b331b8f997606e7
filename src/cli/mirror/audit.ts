/**
 * The guarantee, checked from outside: every entry of a device points at the page that the CPU page table maps there, with no more
 * rights, and that page is still the file's.
 *
 * Both tables are read from the arena's bytes as src/abi.ts draws them, naively and without a line of the code under test: no
 * walker, no page-table class, no driver. Addresses are page numbers, ranges `[start, end)`.
 */
import { LEVEL_P4D, LEVEL_PTE, LEVEL_PUD, PTE_PRESENT, PTE_PSE, PTE_RW, TABLE_ENTRIES } from '../../abi.ts';
import type { ExtentInfo, PageSize } from '../../index.ts';
import { LEVEL_SIZES, addrOf, hex, pagesFor, pagesOfLevel, pfnOfEntry } from '../../units.ts';

/** A present leaf. */
export interface Leaf {
  readonly vpn: number;
  readonly npages: number;
  readonly level: number;
  readonly pfn: number;
  readonly isWritable: boolean;
}

/** What may be mapped where. */
export interface AuditedFile {
  /** first page of its mapping and how many there are; 0 once it is unmapped */
  readonly startVpn: number;
  readonly npages: number;
  /** bytes */
  readonly size: number;
  readonly extents: readonly ExtentInfo[];
  /** frames of the device that it lies on */
  readonly devicePfn: number;
  readonly devicePages: number;
}

/** Every present leaf of the table whose top is at arena offset `root`, lowest first. */
export function readTable(memory: ArrayBufferLike, root: number): Leaf[] {
  const u32 = new Uint32Array(memory);
  const leaves: Leaf[] = [];
  let tables = [{ offset: root, vpn: 0 }];
  for (let level = LEVEL_P4D; level >= LEVEL_PTE; level--) {
    const npages = pagesOfLevel(level);
    const below: typeof tables = [];
    for (const table of tables) {
      for (let i = 0; i < TABLE_ENTRIES; i++) {
        const lo = u32[table.offset / 4 + i * 2] as number;
        if ((lo & PTE_PRESENT) === 0) continue;
        const frame = pfnOfEntry(lo, u32[table.offset / 4 + i * 2 + 1] as number);
        const vpn = table.vpn + i * npages;
        const isLeaf = level === LEVEL_PTE || (level <= LEVEL_PUD && (lo & PTE_PSE) !== 0);
        if (isLeaf) leaves.push({ vpn, npages, level, pfn: frame, isWritable: (lo & PTE_RW) !== 0 });
        else below.push({ offset: frame * 4096, vpn });
      }
    }
    tables = below;
  }
  return leaves.sort((a, b) => a.vpn - b.vpn);
}

/** Leaves by size. */
export function countBySize(leaves: readonly Leaf[]): Record<PageSize, number> {
  const counts: Record<PageSize, number> = { '4K': 0, '2M': 0, '1G': 0 };
  for (const { level } of leaves) counts[LEVEL_SIZES[level] as PageSize]++;
  return counts;
}

/** The first device leaf that breaks the guarantee, in words; null where all keep it. */
export function brokenLeaf(device: readonly Leaf[], cpu: readonly Leaf[], file: AuditedFile): string | null {
  let at = 0;
  for (const leaf of device) {
    while (at < cpu.length && endOf(cpu[at] as Leaf) <= leaf.vpn) at++;
    const broken = againstCpu(leaf, cpu, at) ?? againstFile(leaf, file);
    if (broken !== null) return `the device's ${leaf.isWritable ? 'writable' : 'read-only'} ${LEVEL_SIZES[leaf.level]} entry at ${hex(addrOf(leaf.vpn))} leads to frame ${hex(leaf.pfn)}: ${broken}`;
  }
  return null;
}

/** Compares page by page of the CPU's leaves under `leaf`, the first of which is at or after `at`. */
function againstCpu(leaf: Leaf, cpu: readonly Leaf[], at: number): string | null {
  let i = at;
  for (let vpn = leaf.vpn; vpn < endOf(leaf); i++) {
    const there = cpu[i];
    if (there === undefined || there.vpn > vpn) return `the CPU page table maps nothing at ${hex(addrOf(vpn))}`;
    const frame = there.pfn + (vpn - there.vpn);
    if (frame !== leaf.pfn + (vpn - leaf.vpn)) return `the CPU page table maps frame ${hex(frame)} at ${hex(addrOf(vpn))}`;
    if (leaf.isWritable && !there.isWritable) return `the CPU page table has it read-only at ${hex(addrOf(vpn))}`;
    vpn = endOf(there);
  }
  return null;
}

function againstFile(leaf: Leaf, file: AuditedFile): string | null {
  const { startVpn, npages, devicePfn, devicePages } = file;
  if (leaf.vpn < startVpn || endOf(leaf) > startVpn + npages) return 'no file is mapped there';
  const first = leaf.vpn - startVpn;
  const last = first + leaf.npages;
  if ((last - 1) * 4096 >= file.size) return `the file ends at byte ${file.size}, page ${pagesFor(file.size)}`;
  for (let page = first; page < last; ) {
    const { extent, end } = extentAt(file.extents, page, last);
    const frame = leaf.pfn + (page - first);
    const onDevice = frame >= devicePfn && frame < devicePfn + devicePages;
    if (extent === null && (onDevice || leaf.isWritable)) return `page ${page} of the file is a hole`;
    if (extent !== null && frame !== Number(extent.pfn) + (page - extent.offset / 4096)) return `page ${page} of the file lies in frame ${hex(Number(extent.pfn) + page - extent.offset / 4096)}`;
    page = end;
  }
  return null;
}

/** The written extent that holds `page`, or null for a hole or unwritten blocks, and where that ends (at most at `limit`). */
function extentAt(extents: readonly ExtentInfo[], page: number, limit: number): { extent: ExtentInfo | null; end: number } {
  for (const extent of extents) {
    const start = extent.offset / 4096;
    const end = start + extent.length / 4096;
    if (end <= page) continue;
    if (start > page) return { extent: null, end: Math.min(limit, start) };
    return { extent: extent.state === 'mapped' ? extent : null, end: Math.min(limit, end) };
  }
  return { extent: null, end: limit };
}

function endOf(leaf: Leaf): number {
  return leaf.vpn + leaf.npages;
}
