/**
 * A file system on a range of device frames: names, inodes, and the mapping from file pages to frames (iomap).
 *
 * A frame is a block here: 4 KiB each. Blocks come zeroed to whoever reads them: *written* ones have their bytes,
 * *unwritten* ones and holes read as zeroes. Where new ones lie is place.ts. What is freed is used again after the next
 * commit, or before ENOSPC. Check, then commit: what answers ENOSPC has changed nothing.
 */
import { HmmError } from '../errno.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import { RwLock } from '../sched/index.ts';
import { alignDown, alignUp, pagesFor, type Pfn } from '../units.ts';
import { BlockAllocator } from './allocator.ts';
import { ext4Metadata } from './ext4Geometry.ts';
import { ExtentMap, FILE_PAGES_MAX } from './extents.ts';
import { sizePages, type ExtentPages, type Inode } from './inode.ts';
import { Mappings } from './mappings.ts';
import { KeptBlocks } from './kept.ts';
import { forgetHoles, lookAtHole } from './knownHoles.ts';
import { hintedSpan, placeBlocks } from './place.ts';
import { forgetKept, type Ext4Memory } from './placeExt4.ts';
import type { FsProfile } from './profile.ts';
import { cancelCopies, copyTarget, endCopy } from './reflink.ts';
import { BlockSharing } from './sharing.ts';
import { xfsGeometry, type XfsGeometry } from './xfsGeometry.ts';
import { NO_PAGES, writtenAround, zeroBlocks } from './zeroout.ts';
import { harden, type Journal } from './journal.ts';
import { dirtyBlocks } from './uncommitted.ts';

/** What a file has at a page: `npages` of one kind from `start` on. */
export interface Iomap {
  readonly kind: 'hole' | 'unwritten' | 'mapped';
  readonly start: number;
  readonly npages: number;
  /** frame of page `start`; -1 for a hole */
  readonly pfn: Pfn;
  /** just allocated: the fault was a major one */
  readonly fresh: boolean;
  /** other files have these blocks too; of a write's map: it is a copy, and `finishWrite` makes it the file's */
  readonly shared: boolean;
}

/** What a write finds. `source`: what the file has there until the copy is finished; null where it writes in place. */
export interface WriteMap extends Iomap {
  readonly source: Iomap | null;
}

/** ext4: one fallocate(2) of more than an extent's length looks ahead as a write does */
const PREALLOCATE_PAGES_MAX = 32767;
/** blocks beside those of the file that an allocation may need for its extent tree */
const TREE_PAGES = 4;

export class FileSystem {
  readonly name: string;
  readonly profile: FsProfile;
  readonly platform: Platform;
  readonly pgmap: PgMap;
  /** its files are DAX: mounted with dax=always */
  readonly dax: boolean;
  readonly allocator: BlockAllocator;
  /** blocks with more than one owner */
  readonly sharing = new BlockSharing();
  readonly reflink: boolean;
  /** XFS's groups; null elsewhere */
  readonly xfs: XfsGeometry | null;
  readonly inodes = new Map<string, Inode>();
  /** files that have lost their name and are still in use */
  readonly orphans = new Set<Inode>();
  /** shut down: the device is gone, everything that needs it is EIO */
  shutDown = false;
  /** its journal has failed: nothing changes any more */
  readOnly = false;
  /** its device is being taken away: blocks cannot be reached any more (kill_dax) */
  killed = false;
  /** blocks kept for files and not yet theirs, and what ext4's allocator remembers (placeExt4.ts) */
  readonly kept = new KeptBlocks();
  readonly ext4: Ext4Memory = { lastGroup: 0, small: [] };
  /** told before the blocks of a deleted file go that nobody uses any more */
  onEvict: ((inode: Inode) => void) | null = null;
  /** told of blocks that nobody has any more */
  onFreed: ((pfn: Pfn, npages: number) => void) | null = null;
  /** what of its metadata a power cut would leave; null: nobody keeps track */
  journal: Journal | null = null;
  /** deleted files whose blocks are still to be freed */
  readonly #evicted: Inode[] = [];
  #nextInode = 1;

  constructor(platform: Platform, profile: FsProfile, pgmap: PgMap, dax = true) {
    this.name = pgmap.name;
    this.profile = profile;
    this.platform = platform;
    this.pgmap = pgmap;
    this.dax = dax;
    this.reflink = profile.reflink && platform.profile.daxReflink;
    this.xfs = profile.allocator === 'near' ? xfsGeometry(pgmap.npages, this.reflink) : null;
    this.allocator = new BlockAllocator(pgmap.basePfn, pgmap.npages);
    for (const [first, end] of this.xfs?.metadata ?? ext4Metadata(pgmap.npages)) {
      // Where files have 1 GiB extents the file system has its own blocks in front, as with mke2fs's packed_meta_blocks.
      const isLeftOut = platform.profile.fsdaxPud && first > 0;
      if (end > first && !isLeftOut) this.allocator.reserve(pgmap.basePfn + first, end - first);
    }
  }

  /** EIO where it is shut down, EROFS where its journal has failed. */
  requireChangeable(op: string): void {
    if (this.shutDown) throw new HmmError('EIO', op, `${this.name} is shut down`);
    if (this.readOnly) throw new HmmError('EROFS', op, `${this.name} has become read only`);
  }

  /** What it has to write down cannot be written. */
  fail(): void {
    if (this.profile.failsBy === 'shutdown') this.shutDown = true;
    else this.readOnly = true;
  }

  /** Can blocks not be reached any more? */
  get gone(): boolean {
    return this.killed || this.pgmap.state === 'dead';
  }

  /** A new empty file. With `extentPages` its blocks come in such aligned units, else as the file system places them. EEXIST. */
  create(name: string, extentPages?: ExtentPages): Inode {
    if (this.inodes.has(name)) throw new HmmError('EEXIST', 'open', `${name} exists`);
    this.requireChangeable('open');
    const id = this.#nextInode++;
    const touches = `fs ${this.name}`;
    const inode: Inode = {
      id,
      name,
      touches,
      fs: this,
      size: 0,
      extents: new ExtentMap(),
      copies: new ExtentMap(),
      reflinked: false,
      preallocated: false,
      extentPages: extentPages ?? this.profile.alignPages,
      hinted: extentPages !== undefined,
      placed: { kept: [] },
      rwsem: new RwLock(`i_rwsem ${this.name}:${name}`, `${touches},bytes`),
      invalidateLock: new RwLock(`invalidate_lock ${this.name}:${name}`, `${touches},bytes`),
      mappings: new Mappings(this.platform.sched, `${this.name}:${name}`, touches),
      pages: null,
      metadataDirty: true,
      unlinked: false,
      opens: 0,
    };
    this.inodes.set(name, inode);
    this.logged(inode);
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
    this.requireChangeable('unlink');
    inode.unlinked = true;
    this.logged(inode);
    this.inodes.delete(inode.name);
    this.orphans.add(inode);
    this.evictIfUnused(inode);
  }

  /** The blocks of a deleted file go when nobody has it open or maps it any more. */
  evictIfUnused(inode: Inode): void {
    if (!inode.unlinked || inode.opens > 0 || inode.mappings.size > 0) return;
    this.orphans.delete(inode);
    if (inode.extents.count === 0) return;
    this.onEvict?.(inode);
    inode.pages = null;
    this.#evicted.push(inode);
    if (this.xfs === null || !this.platform.profile.evictsLater) this.inactivate();
  }

  /** The blocks of files that were deleted are free (xfs_inodegc_worker). */
  inactivate(): void {
    for (const inode of this.#evicted.splice(0)) {
      this.freeBlocks(inode, 0, FILE_PAGES_MAX);
      cancelCopies(inode);
    }
  }

  /** A file is closed: what it has beyond its end goes, unless it was asked for (xfs_release). */
  closed(inode: Inode): void {
    if (inode.opens <= 0 && inode.mappings.size === 0) forgetKept(this, inode);
    if (!inode.unlinked && inode.size > 0) this.#trim(inode);
  }

  /** Has somebody a file of it open or mapped? */
  get busy(): boolean {
    return [...this.inodes.values(), ...this.orphans].some(({ opens, mappings }) => opens > 0 || mappings.size > 0);
  }

  /** What the file has at page `index`, looking no further than `end`. */
  iomap(inode: Inode, index: number, end: number): Iomap {
    const run = inode.extents.lookup(index, end);
    if (run.hole) return { kind: 'hole', start: run.start, npages: run.npages, pfn: -1, fresh: false, shared: false };
    return { kind: run.state, start: run.block, npages: run.npages, pfn: run.pfn, fresh: false, shared: false };
  }

  /**
   * What a write of bytes up to `endByte`, or a write fault, finds at page `index`, looking no further than page `end`: blocks of
   * its own, allocated where there were none, or blocks for a copy where others share them. `finishWrite` when the bytes are
   * there. New blocks of pages that are `covered` have old bytes till then. ENOSPC with nothing changed.
   */
  writeMap(inode: Inode, index: number, end: number, endByte: number, covered = NO_PAGES): WriteMap {
    this.inactivate();
    let upTo = end;
    if (inode.reflinked) {
      const target = copyTarget(inode, index, end);
      if (target === null) throw new HmmError('ENOSPC', 'write', `no blocks on ${this.name} for a copy of what ${inode.name} shares`);
      const { copy } = target;
      if (copy !== null) return { kind: 'mapped', start: copy.start, npages: copy.npages, pfn: copy.pfn, fresh: false, shared: true, source: this.iomap(inode, index, target.end) };
      upTo = target.end;
    }
    const { writePagesMax, hintPages, growsByUnit } = this.profile;
    const capped = inode.hinted ? upTo : index + Math.min(upTo - index, writePagesMax); // units of a file's own are had whole
    let allocEnd = capped;
    if (growsByUnit && !inode.hinted && Math.min(endByte, capped * 4096) > inode.size) {
      const unitEnd = alignUp(capped, hintPages);
      if (inode.extents.next(unitEnd) === null) allocEnd = unitEnd;
    }
    const run = this.allocateRun(inode, index, allocEnd - index, covered);
    // What others share begins in the middle of it: up to there, and no further.
    const npages = upTo < end ? Math.min(run.npages, upTo - run.start) : run.npages;
    return { kind: run.kind, start: run.start, npages, pfn: run.pfn, fresh: run.fresh, shared: run.shared, source: null };
  }

  /** The bytes of a write to `[index, end)` are in the blocks of `map`; `done` false: there are none. */
  finishWrite(inode: Inode, map: WriteMap, index: number, end: number, done = true): void {
    if (!map.shared) return;
    if (done) endCopy(inode, index, end);
    else cancelCopies(inode, index, end);
    dirtyBlocks(inode, index, end);
    this.logged(inode);
  }

  /** Is there room for pages `[index, end)` in whole units, and for what the file's tree may need? What other files have beyond their ends, or for copies, is taken back first. */
  hasRoom(inode: Inode, index: number, end: number): boolean {
    if (this.xfs === null || inode.hinted) return true;
    const unit = this.profile.hintPages;
    const wanted = alignUp(end, unit) - alignDown(index, unit) + TREE_PAGES;
    if (this.allocator.freePages - this.xfs.unavailable >= wanted) return true;
    for (const other of this.inodes.values()) {
      this.#trim(other);
      cancelCopies(other);
    }
    return this.allocator.freePages - this.xfs.unavailable >= wanted;
  }

  /**
   * What a write or a write fault at page `index` finds, looking no further than `index + npages`: where there are no written
   * blocks, the first run of the hole or of the unwritten ones gets them, reading zero. ENOSPC with nothing changed.
   */
  allocateRun(inode: Inode, index: number, npages: number, covered = NO_PAGES): Iomap {
    const end = index + npages;
    const map = this.iomap(inode, index, end);
    if (map.kind === 'mapped') return map;
    const upTo = Math.min(map.start + map.npages, end, map.kind === 'hole' ? lookAtHole(inode, index) : end);
    if (map.kind === 'hole') this.#fillFirst(inode, index, upTo);
    // New blocks may lie in several pieces: only the first is written now, so that the next is found to be fresh in its turn.
    const piece = this.iomap(inode, index, upTo);
    const first = { index, end: Math.min(piece.start + piece.npages, upTo) };
    const written = map.kind === 'unwritten' ? writtenAround(inode.extents, index, first.end, sizePages(inode), this.profile.zeroesAroundPages) : first;
    this.#write(inode, written.index, written.end, covered);
    this.logged(inode);
    const made = this.iomap(inode, index, end);
    // What was there behind is not looked at, though the new blocks may have joined it; but for unwritten ones of XFS.
    const joins = map.kind === 'unwritten' && this.xfs !== null;
    const past = joins ? made.start + made.npages : Math.max(upTo, written.end);
    return { kind: made.kind, start: made.start, npages: Math.min(made.npages, past - made.start), pfn: made.pfn, fresh: true, shared: false };
  }

  /** Makes all of pages `[index, index + npages)` written blocks: holes are allocated, unwritten ones converted. ENOSPC with nothing changed. */
  allocateWritten(inode: Inode, index: number, npages: number): void {
    this.#fill(inode, index, index + npages, true);
    this.#write(inode, index, index + npages);
    this.logged(inode);
  }

  /** fallocate(2): gives holes in `[index, index + npages)` unwritten blocks. ENOSPC with nothing changed. */
  allocate(inode: Inode, index: number, npages: number): void {
    this.inactivate();
    if (!this.hasRoom(inode, index, index + npages)) throw this.#full(inode, npages);
    this.#fill(inode, index, index + npages, npages > PREALLOCATE_PAGES_MAX && this.xfs === null);
    this.logged(inode);
  }

  /** Makes `[index, end)` read as zeroes: what has blocks there becomes unwritten. Holes stay. */
  makeUnwritten(inode: Inode, index: number, end: number): void {
    if (end <= index || inode.extents.convert(index, end - index, 'unwritten') === 0) return;
    dirtyBlocks(inode, index, end);
    this.logged(inode);
  }

  /** Gives back the blocks of pages `[index, end)`. Their bytes stay as they are, as on a real device. */
  freeBlocks(inode: Inode, index: number, end: number): void {
    this.dropBlocks(inode, index, end);
    this.logged(inode);
  }

  /** The same as part of a change that is written down as a whole. */
  dropBlocks(inode: Inode, index: number, end: number): void {
    forgetKept(this, inode);
    if (index >= end) return;
    forgetHoles(inode, index, end);
    // From the end on, as XFS takes extents out.
    for (const piece of inode.extents.punch(index, Math.min(end, FILE_PAGES_MAX) - index).reverse()) {
      for (const run of inode.reflinked ? this.sharing.release(piece.pfn, piece.npages) : [piece]) {
        if (this.platform.bugs.has('blocks-reused-early')) this.allocator.free(run.pfn, run.npages);
        else this.allocator.freeLater(run.pfn, run.npages);
        this.onFreed?.(run.pfn, run.npages);
      }
      inode.metadataDirty = true;
      const { bus } = this.platform;
      if (bus.on) bus.emit({ type: 'blocks', file: inode.name, index: piece.block, pfn: piece.pfn, npages: piece.npages, freed: true });
    }
  }

  setSize(inode: Inode, size: number): void {
    dirtyBlocks(inode, sizePages(inode), pagesFor(size));
    inode.size = size;
    this.logged(inode);
    const { bus } = this.platform;
    if (bus.on) bus.emit({ type: 'size', file: inode.name, size });
  }

  /** A journal commit: the file's metadata is durable, and what any file has freed may be used again. */
  commit(inode: Inode): void {
    harden(this, !this.platform.bugs.has('commit-without-fence'));
    inode.metadataDirty = false;
    this.platform.uncommitted?.committed(inode);
    this.allocator.settle();
  }

  /** A change of the file's metadata is whole: it and all before it may come through a power cut from now on. */
  logged(inode: Inode): void {
    if (this.journal !== null) this.journal.note(inode);
  }

  /** Pages that no file has. */
  get freePages(): number {
    this.inactivate();
    return this.allocator.freePages + this.kept.count;
  }

  /** Pages of the file that have blocks. */
  allocatedPages(inode: Inode): number {
    return inode.extents.pages;
  }

  // ── inside ──

  /** Gives the holes in `[index, end)` unwritten blocks, all or none. `ahead`: for a write. A hinted file gets whole units if it can. */
  #fill(inode: Inode, index: number, end: number, ahead: boolean): void {
    if (this.shutDown) throw new HmmError('EIO', 'allocate', `${this.name} is shut down`);
    const span = hintedSpan(inode, index, end);
    const room = !ahead || inode.extents.lookup(index, end).hole !== true || this.hasRoom(inode, index, end);
    const made = room ? (this.#tryFill(inode, span.index, span.end, ahead) ?? this.#tryFill(inode, index, end, ahead)) : null;
    if (made === null) throw this.#full(inode, end - index);
    const { bus } = this.platform;
    for (const { index: first, npages } of made) {
      dirtyBlocks(inode, first, first + npages);
      if (bus.on) this.#tell(inode, first, npages);
    }
  }

  /** What a write gives a hole: blocks for its first pages, as many as come in a row. A hinted file gets them all. */
  #fillFirst(inode: Inode, index: number, end: number): void {
    if (inode.hinted) {
      this.#fill(inode, index, end, true);
      return;
    }
    if (this.shutDown) throw new HmmError('EIO', 'allocate', `${this.name} is shut down`);
    const placed = this.hasRoom(inode, index, end) ? placeBlocks(this, inode, { index, npages: end - index, ahead: true }) : null;
    if (placed === null) throw this.#full(inode, end - index);
    inode.extents.insert(placed.index, placed.pfn, placed.npages, 'unwritten');
    dirtyBlocks(inode, placed.index, placed.index + placed.npages);
    if (this.platform.bus.on) this.#tell(inode, placed.index, placed.npages);
  }

  /** The runs that it gave blocks, or null with nothing changed. */
  #tryFill(inode: Inode, index: number, end: number, ahead: boolean): { index: number; npages: number }[] | null {
    const made: { index: number; npages: number }[] = [];
    for (let at = index; at < end; ) {
      const run = inode.extents.lookup(at, end);
      const upTo = Math.min((run.hole ? run.start : run.block) + run.npages, end);
      if (!run.hole) {
        at = upTo;
        continue;
      }
      const blocks = placeBlocks(this, inode, { index: at, npages: upTo - at, ahead });
      if (blocks === null) {
        this.#undo(inode, made);
        return null;
      }
      inode.extents.insert(blocks.index, blocks.pfn, blocks.npages, 'unwritten');
      made.push({ index: blocks.index, npages: blocks.npages });
      at = Math.max(at, blocks.index + blocks.npages);
    }
    return made;
  }

  #full(inode: Inode, npages: number): HmmError {
    return new HmmError('ENOSPC', 'allocate', `${npages} blocks for ${inode.name}, ${this.allocator.freePages} free on ${this.name}`);
  }

  /** xfs_free_eofblocks(). */
  #trim(inode: Inode): void {
    if (!this.profile.growsByUnit || inode.hinted || inode.preallocated) return;
    const first = sizePages(inode);
    if (inode.extents.next(first) !== null) this.freeBlocks(inode, first, FILE_PAGES_MAX);
  }

  #undo(inode: Inode, made: readonly { index: number; npages: number }[]): void {
    forgetKept(this, inode);
    for (const { index, npages } of made) {
      for (const piece of inode.extents.punch(index, npages)) this.allocator.free(piece.pfn, piece.npages);
    }
  }

  /** Unwritten blocks in `[index, end)` become written ones that read zero, but for those that are `covered`. */
  #write(inode: Inode, index: number, end: number, covered = NO_PAGES): void {
    for (let at = index; at < end; ) {
      const map = this.iomap(inode, at, end);
      const upTo = Math.min(map.start + map.npages, end);
      if (map.kind === 'unwritten') {
        zeroBlocks(this.platform, map.pfn + (at - map.start), { index: at, end: upTo }, covered);
        inode.extents.convert(at, upTo - at, 'mapped');
        dirtyBlocks(inode, at, upTo);
      }
      at = upTo;
    }
  }

  #tell(inode: Inode, index: number, npages: number): void {
    const map = this.iomap(inode, index, index + npages);
    this.platform.bus.emit({ type: 'blocks', file: inode.name, index, pfn: map.pfn + (index - map.start), npages, freed: false });
  }
}
