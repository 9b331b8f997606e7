/**
 * A file system on a range of device frames: names, inodes, and the mapping from file pages to frames (iomap).
 *
 * A frame is a block here: 4 KiB each. Blocks come zeroed to whoever reads them: *written* ones have their bytes,
 * *unwritten* ones and holes read as zeroes. Check, then commit: what answers ENOSPC has changed nothing.
 */
import { PMD_PAGES } from '../abi.ts';
import { HmmError, InvariantError } from '../errno.ts';
import { IntervalTree } from '../interval.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import { RwLock } from '../sched/index.ts';
import type { Pfn } from '../units.ts';
import { BlockAllocator } from './allocator.ts';
import { ExtentMap, FILE_PAGES_MAX } from './extents.ts';
import type { ExtentPages, Inode } from './inode.ts';
import type { FsProfile } from './profile.ts';

/** What a file has at a page: `npages` of one kind from `start` on. */
export interface Iomap {
  readonly kind: 'hole' | 'unwritten' | 'mapped';
  readonly start: number;
  readonly npages: number;
  /** frame of page `start`; -1 for a hole */
  readonly pfn: Pfn;
  /** just allocated: the fault was a major one */
  readonly fresh: boolean;
}

export class FileSystem {
  readonly name: string;
  readonly profile: FsProfile;
  readonly platform: Platform;
  readonly pgmap: PgMap;
  readonly allocator: BlockAllocator;
  readonly inodes = new Map<string, Inode>();
  /** shut down: the device is gone, everything that needs it is EIO */
  shutDown = false;
  #nextInode = 1;

  constructor(platform: Platform, profile: FsProfile, pgmap: PgMap) {
    this.name = pgmap.name;
    this.profile = profile;
    this.platform = platform;
    this.pgmap = pgmap;
    const reserved = Math.min(profile.metadataPages, Math.floor(pgmap.npages / 8));
    this.allocator = new BlockAllocator(pgmap.basePfn + reserved, pgmap.npages - reserved);
  }

  /** A new empty file whose blocks are aligned to `extentPages`. EEXIST. */
  create(name: string, extentPages: ExtentPages = this.profile.alignPages): Inode {
    if (this.inodes.has(name)) throw new HmmError('EEXIST', 'open', `${name} exists`);
    const id = this.#nextInode++;
    const inode: Inode = {
      id,
      name,
      fs: this,
      size: 0,
      extents: new ExtentMap(),
      extentPages,
      rwsem: new RwLock(`i_rwsem ${this.name}:${name}`),
      invalidateLock: new RwLock(`invalidate_lock ${this.name}:${name}`),
      mappings: new IntervalTree(),
      pages: null,
      metadataDirty: true,
      unlinked: false,
      opens: 0,
    };
    this.inodes.set(name, inode);
    return inode;
  }

  /** The file `name`. ENOENT. */
  lookup(name: string): Inode {
    const inode = this.inodes.get(name);
    if (inode === undefined) throw new HmmError('ENOENT', 'open', `no file ${name} on ${this.name}`);
    return inode;
  }

  /** Takes the name away; the blocks go with the last user. */
  unlink(inode: Inode): void {
    if (inode.unlinked) throw new HmmError('ENOENT', 'unlink', `${inode.name} is gone`);
    inode.unlinked = true;
    this.inodes.delete(inode.name);
    if (inode.opens === 0) this.freeBlocks(inode, 0, FILE_PAGES_MAX);
  }

  /** What the file has at page `index`, looking no further than `end`. */
  iomap(inode: Inode, index: number, end: number): Iomap {
    const run = inode.extents.lookup(index, end);
    if (run.hole) return { kind: 'hole', start: run.start, npages: run.npages, pfn: -1, fresh: false };
    return { kind: run.state, start: run.block, npages: run.npages, pfn: run.pfn, fresh: false };
  }

  /**
   * Makes pages `[index, index + npages)` written blocks: holes are allocated, unwritten ones converted; new ones read zero.
   * Returns what page `index` is then part of. ENOSPC with nothing changed.
   */
  allocateWritten(inode: Inode, index: number, npages: number): Iomap {
    this.allocate(inode, index, npages);
    const end = index + npages;
    let fresh = false;
    for (let at = index; at < end; ) {
      const map = this.iomap(inode, at, end);
      const upTo = Math.min(map.start + map.npages, end);
      if (map.kind === 'unwritten') {
        this.platform.arena.content.zero((map.pfn + (at - map.start)) * 4096, (upTo - at) * 4096);
        inode.extents.convert(at, upTo - at, 'mapped');
        inode.metadataDirty = true;
        fresh = true;
      }
      at = upTo;
    }
    return { ...this.iomap(inode, index, end), fresh };
  }

  /** fallocate(2): gives holes in `[index, index + npages)` unwritten blocks. ENOSPC with nothing changed. */
  allocate(inode: Inode, index: number, npages: number): void {
    if (this.shutDown) throw new HmmError('EIO', 'allocate', `${this.name} is shut down`);
    const holes = this.#holes(inode, index, npages);
    const taken: { index: number; pfn: Pfn; npages: number }[] = [];
    for (const hole of holes) {
      const runs = this.#take(inode, hole);
      if (runs === null) {
        for (const run of taken) this.allocator.free(run.pfn, run.npages);
        throw new HmmError('ENOSPC', 'allocate', `${hole.npages} blocks for ${inode.name}, ${this.allocator.freePages} free on ${this.name}`);
      }
      taken.push(...runs);
    }
    for (const run of taken) {
      inode.extents.insert(run.index, run.pfn, run.npages, 'unwritten');
      inode.metadataDirty = true;
      const { bus } = this.platform;
      if (bus.on) bus.emit({ type: 'blocks', file: inode.name, index: run.index, pfn: run.pfn, npages: run.npages, freed: false });
    }
  }

  /** Gives back the blocks of pages `[index, end)`. Their bytes stay as they are, as on a real device. */
  freeBlocks(inode: Inode, index: number, end: number): void {
    if (index >= end) return;
    for (const piece of inode.extents.punch(index, Math.min(end, FILE_PAGES_MAX) - index)) {
      this.allocator.free(piece.pfn, piece.npages);
      inode.metadataDirty = true;
      const { bus } = this.platform;
      if (bus.on) bus.emit({ type: 'blocks', file: inode.name, index: piece.block, pfn: piece.pfn, npages: piece.npages, freed: true });
    }
  }

  setSize(inode: Inode, size: number): void {
    inode.size = size;
    inode.metadataDirty = true;
    const { bus } = this.platform;
    if (bus.on) bus.emit({ type: 'size', file: inode.name, size });
  }

  /** A journal commit: the file's metadata is durable. */
  commit(inode: Inode): void {
    inode.metadataDirty = false;
  }

  /** Pages of the file that have blocks. */
  allocatedPages(inode: Inode): number {
    return inode.extents.pages;
  }

  // ── inside ──

  /** The holes in a range, grown to whole allocation units where the file system does so. */
  #holes(inode: Inode, index: number, npages: number): { start: number; npages: number }[] {
    const unit = this.profile.allocatesUnit || inode.extentPages > this.profile.alignPages ? inode.extentPages : 1;
    const from = index - (index % unit);
    const to = Math.ceil((index + npages) / unit) * unit;
    const holes: { start: number; npages: number }[] = [];
    for (let at = from; at < to; ) {
      const run = inode.extents.lookup(at, to);
      const upTo = Math.min((run.hole ? run.start : run.block) + run.npages, to);
      if (run.hole) holes.push({ start: at, npages: upTo - at });
      at = upTo;
    }
    return holes;
  }

  #take(inode: Inode, hole: { start: number; npages: number }): { index: number; pfn: Pfn; npages: number }[] | null {
    const unit = inode.extentPages;
    const aligned = unit > 1 && hole.npages >= unit && hole.start % unit === 0;
    const goal = this.#goal(inode, hole.start);
    const runs = this.allocator.alloc(hole.npages, { align: aligned ? unit : 1, ...(goal === null ? {} : { goal }) });
    if (runs === null) return null;
    if (unit === 1) this.#skew(runs, hole.start);
    let index = hole.start;
    return runs.map((run: { pfn: Pfn; npages: number }) => {
      const piece = { index, pfn: run.pfn, npages: run.npages };
      index += run.npages;
      return piece;
    });
  }

  /** A file that asks for 4K extents gets none that a 2M entry could map: a run that would be congruent moves on by a block. */
  #skew(runs: { pfn: Pfn; npages: number }[], index: number): void {
    const [run] = runs;
    if (runs.length !== 1 || run === undefined || run.npages < PMD_PAGES || (run.pfn - index) % PMD_PAGES !== 0) return;
    this.allocator.free(run.pfn, run.npages);
    const moved = this.allocator.alloc(run.npages, { align: 1, goal: run.pfn + 1 });
    if (moved === null) throw new InvariantError('blocks just freed cannot be allocated');
    runs.splice(0, 1, ...moved);
  }

  /** Where the block before `index` lies, so that the next follows it. */
  #goal(inode: Inode, index: number): Pfn | null {
    if (index === 0) return null;
    const before = inode.extents.lookup(index - 1, index);
    return before.hole ? null : before.pfn + (index - before.block);
  }
}

