/**
 * Random page tables for the differential tests: a list of raw entries (and of tables without any) that is put into a
 * NaiveSpace and into arenas alike.
 */
import { PGMAP_DYING, PGMAP_LIVE } from '../../src/abi.ts';
import { type Chance } from './chance.ts';
import { A, D, NaiveSpace, P, PROTNONE, PSE, RW, SPECIAL, pagesOf } from './naiveSpace.ts';
import type { BareArena, Pgmap } from './wasm.ts';

export interface RandomSpace {
  readonly levels: number;
  readonly devmapBit: number;
  readonly zeroPfn: bigint;
  readonly pgmaps: Pgmap[];
  /** first and one past the last page worth walking */
  readonly start: bigint;
  readonly end: bigint;
  readonly naive: NaiveSpace;
  /** in the order they have to be written */
  readonly entries: readonly { level: number; vpn: bigint; entry: bigint }[];
}

const PMD = 512n;
const PUD = 262144n;

/** Places where 32 and 36 bits, or the space, end; the last is also the largest page number of all. */
function anchors(levels: number): bigint[] {
  const common = [0n, PMD * 3n, PUD - 600n, 2n ** 31n - 700n, 2n ** 32n - 300n, 2n ** 27n - 512n, 2n ** 35n - 513n];
  return levels === 4 ? [...common, 2n ** 36n - 1400n] : [...common, 2n ** 36n - 700n, 2n ** 44n - 100n, 2n ** 45n - 1300n];
}

export function randomPgmaps(c: Chance): Pgmap[] {
  const pgmaps: Pgmap[] = [];
  let at = 0x10000000000n + c.bits(30) * 4096n;
  for (let n = c.pick([0, 1, 1, 2, 3, 40]); n > 0; n--) {
    const npages = c.pick([1n, 3n, 16n, 100n, 512n, 700n, 4096n, 262144n, 262145n]);
    pgmaps.push({ base: at, end: at + npages * 4096n, state: c.oneIn(4) ? PGMAP_DYING : PGMAP_LIVE });
    at += npages * 4096n + c.pick([0n, 0n, 1n, 100n]) * 4096n;
  }
  return pgmaps;
}

/** One style of pte table or huge leaf a chunk, so that runs are long enough for vectors and break in every way. */
export function randomSpace(c: Chance): RandomSpace {
  const levels = c.pick([4, 4, 4, 5]);
  const devmapBit = c.pick([57, 58, 58, 64]);
  const devmap = devmapBit === 64 ? 0n : 1n << BigInt(devmapBit);
  const zeroPfn = c.pick([0n, c.bits(20), c.bits(40)]);
  const pgmaps = randomPgmaps(c);
  const naive = new NaiveSpace(levels);
  const entries: { level: number; vpn: bigint; entry: bigint }[] = [];
  const start = c.pick(anchors(levels));
  const put = (level: number, vpn: bigint, entry: bigint): void => {
    entries.push({ level, vpn, entry });
    naive.addTables(vpn, level);
    naive.set(level, vpn, entry);
  };

  /** bits nobody should look at */
  const noise = (): bigint => {
    if (!c.oneIn(3)) return A;
    const high = (c.bits(12) << 52n) & ~devmap;
    return high | (c.bits(12) & (A | D | (1n << 2n) | (1n << 3n) | (1n << 8n) | (1n << 10n) | (1n << 11n)));
  };
  const pfnIn = (p: Pgmap): bigint => p.base / 4096n + (c.bits(40) % ((p.end - p.base) / 4096n));
  const anyPfn = (): bigint => (pgmaps.length > 0 && c.oneIn(2) ? pfnIn(c.pick(pgmaps)) : c.bits(c.pick([20, 30, 40])));
  const odd = (): bigint => c.pick([0n, 0n, A, D, A | D, PROTNONE | A, 1n << 20n, (~(5n << 12n) & 0x000ffffffffff000n) | PROTNONE | RW, 1n << 63n]);
  const special = (): bigint => (c.oneIn(2) ? zeroPfn << 12n : c.bits(36) << 12n) | P | SPECIAL | (c.oneIn(8) ? RW : 0n);

  const pteTable = (base: bigint): void => {
    const style = c.below(12);
    let pfn = anyPfn();
    let rw = c.oneIn(4) ? 0n : RW;
    let dev = devmap !== 0n && c.oneIn(2) ? devmap | (c.oneIn(2) ? SPECIAL : 0n) : 0n;
    let hole = c.oneIn(2);
    const strange = c.pick([0, 0, 0, 300, 60, 10]);
    naive.addTables(base, 0);
    for (let i = 0n; i < PMD; i++) {
      if (c.oneIn(style < 4 ? 400 : 70)) pfn = anyPfn();
      if (style === 3 || style === 4) rw = c.oneIn(10) ? 0n : RW;
      if (style === 5 && c.oneIn(64)) rw ^= RW;
      if (style === 6 && c.oneIn(40)) dev = devmap !== 0n && dev === 0n ? devmap : 0n;
      if (style === 7) pfn = anyPfn();
      if (style === 8) hole = c.oneIn(4);
      if (style === 9 && c.oneIn(50)) hole = !hole;
      const isHole = (style === 8 || style === 9) && hole;
      const zero = style === 10 && !c.oneIn(30);
      const usual = (((pfn + i) & (2n ** 40n - 1n)) << 12n) | P | rw | dev | noise();
      let entry = isHole ? 0n : zero ? (zeroPfn << 12n) | P | SPECIAL | (c.oneIn(40) ? RW : 0n) | noise() : usual;
      if (style === 11 && !c.oneIn(20)) entry = odd();
      if (strange !== 0 && c.oneIn(strange)) entry = c.pick([odd, special, () => 0n])();
      if (entry !== 0n) put(0, base + i, entry);
    }
    if (naive.get(0, base) === 0n) put(0, base, 0n);
  };
  const hugeLeaf = (level: number, base: bigint): void => {
    const dev = devmap !== 0n && c.oneIn(2) ? devmap : 0n;
    const rw = c.oneIn(3) ? 0n : RW;
    const entry = (anyPfn() << 12n) | P | PSE | rw | dev | noise() | (c.oneIn(20) ? SPECIAL : 0n);
    put(level, base, c.oneIn(15) ? entry & ~P : entry);
  };
  /** present, no leaf, and no table of ours */
  const badEntry = (level: number): bigint => {
    if (level > 2) return c.pick([P | PSE | (c.bits(30) << 12n), PROTNONE, 1n << 40n]);
    return P | RW | c.pick([0n, 4096n, 0x20000n, c.bits(39) << 13n | 1n << 40n, 1n << 35n]);
  };

  let at = start - (start % PMD);
  const chunks = 1 + c.below(5);
  for (let n = 0; n < chunks && at < naive.pages; n++) {
    const roll = c.below(24);
    if (roll < 12) pteTable(at);
    else if (roll < 16) hugeLeaf(1, at);
    else if (roll === 16) put(0, at, 0n);
    else if (roll === 17 && c.oneIn(3)) put(1, at, badEntry(1));
    else if (roll === 18) put(1, at, c.pick([A, D, PROTNONE | PSE, PROTNONE]));
    else if (roll === 19 && at % PUD === 0n) {
      hugeLeaf(2, at);
      at += PUD - PMD;
    } else if (roll === 20 && at % PUD === 0n && c.oneIn(3)) put(2, at, c.pick([badEntry(2), A, PROTNONE]));
    else if (roll === 21 && at % pagesOf(3) === 0n && c.oneIn(2)) put(3, at, badEntry(3));
    at += PMD;
    if (entries.some((e) => e.level === 2 && e.vpn === at - PMD)) at += PUD - PMD;
    else if (entries.some((e) => e.level === 3 && e.vpn === at - PMD)) break;
  }
  if (c.oneIn(3) && start % PUD > PUD - 2000n && start + PUD < naive.pages) {
    const pud = start - (start % PUD) + PUD;
    if (naive.find(pud).level >= 2 && naive.find(pud).entry === 0n) hugeLeaf(2, pud);
  }
  return { levels, devmapBit, zeroPfn, pgmaps, start, end: at < naive.pages ? at : naive.pages, naive, entries };
}

/** Builds the same tables in an arena that is as new. Returns the top table. */
export function buildSpace(arena: BareArena, space: RandomSpace): number {
  arena.reset();
  arena.setPgmaps(space.pgmaps);
  const root = arena.root();
  let table = 0;
  let tableFor = -1n;
  for (const { level, vpn, entry } of space.entries) {
    if (level === 0 && vpn / PMD === tableFor) {
      arena.set64(table + Number(vpn % PMD) * 8, entry);
      continue;
    }
    arena.setRaw(root, space.levels, vpn, level, entry);
    if (level !== 0) continue;
    tableFor = vpn / PMD;
    table = (arena.wasm.descend(root, space.levels, Number(vpn)) >>> 0) - Number(vpn % PMD) * 8;
  }
  return root;
}
