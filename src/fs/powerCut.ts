/**
 * What a power cut leaves of a file system's device, and how the file system comes back from it.
 *
 * `cutPower` says what would be found after a cut at this moment, and changes nothing: metadata as some prefix of the journal has it, every
 * cache line as it was at some moment since it was durable. Recovery is what mounting does (ext4: replay, then the orphan list; XFS: log
 * recovery): files that lost their name go, and what lies beyond a file's end, but for blocks that fallocate(2) gave it. `mountImage` makes
 * a fresh file system of that. Blocks that no file has are free, whatever is in them.
 */
import { CHUNK_SIZE } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { LINE_BYTES } from '../arena/index.ts';
import type { LinesLeft } from '../persistence/index.ts';
import type { Random } from '../sched/index.ts';
import { alignDown, pagesFor, type Pfn } from '../units.ts';
import type { Extent } from './extents.ts';
import type { FileSystem } from './fileSystem.ts';
import type { InodeRecord } from './journal.ts';
import type { FsName } from './profile.ts';

export interface CutChoice {
  /** cache lines whose newest bytes were not durable */
  readonly lines: LinesLeft;
  /** metadata: what was committed for certain, everything, or any prefix between */
  readonly journal: 'oldest' | 'newest' | 'random';
}

/** A device as it is found after a cut: bytes apart from any machine. Frames are counted from the device's first. */
export interface DeviceImage {
  readonly fs: FsName;
  readonly npages: number;
  readonly files: readonly InodeRecord[];
  /** runs of 64 KiB that have bytes */
  readonly chunks: readonly { readonly at: number; readonly bytes: Uint8Array }[];
}

/** What a cut at this moment would leave. Good until the machine goes on; `save` keeps it. */
export class PowerCut {
  readonly files: readonly InodeRecord[];
  readonly choice: CutChoice;
  /** cache lines that are not as they were before the cut */
  readonly linesLost: number;
  /** journal records that are not there */
  readonly recordsLost: number;
  readonly #fs: FileSystem;
  readonly #lost: ReadonlyMap<number, Uint8Array>;

  /** @internal made by `cutPower` */
  constructor(fs: FileSystem, choice: CutChoice, files: readonly InodeRecord[], lost: ReadonlyMap<number, Uint8Array>, recordsLost: number) {
    this.#fs = fs;
    this.choice = choice;
    this.files = files;
    this.#lost = lost;
    this.linesLost = lost.size;
    this.recordsLost = recordsLost;
  }

  find(name: string): InodeRecord | null {
    return this.files.find((file) => file.name === name) ?? null;
  }

  /** read(2) of a recovered file: bytes from `offset` on, fewer at its end. */
  read(file: InodeRecord, offset: number, target: Uint8Array): number {
    const length = Math.max(0, Math.min(target.length, file.size - offset));
    target.fill(0, 0, length);
    for (const { block, npages, pfn, state } of file.extents) {
      const from = Math.max(offset, block * 4096);
      const end = Math.min(offset + length, (block + npages) * 4096);
      if (state === 'mapped' && from < end) this.#readBytes(pfn * 4096 + (from - block * 4096), target, from - offset, end - from);
    }
    return length;
  }

  /** Blocks that two files have though their file system shares none, as text; empty where all is well. */
  get claimedTwice(): string[] {
    const owners = new Map<Pfn, string>();
    const found: string[] = [];
    for (const { name, extents } of this.#fs.reflink ? [] : this.files) {
      for (const { block, npages, pfn } of extents) {
        for (let i = 0; i < npages; i++) {
          const owner = owners.get(pfn + i);
          if (owner !== undefined) found.push(`page ${block + i} of ${name} and ${owner} have one block`);
          owners.set(pfn + i, `page ${block + i} of ${name}`);
        }
      }
    }
    return found;
  }

  /** All of it, apart from the machine. */
  save(): DeviceImage {
    const { pgmap, profile, platform } = this.#fs;
    const [base, end] = [pgmap.basePfn * 4096, (pgmap.basePfn + pgmap.npages) * 4096];
    const { content } = platform.arena;
    const chunks: { at: number; bytes: Uint8Array }[] = [];
    for (let at = content.nextChunk(base, end); at < end; at = content.nextChunk(at + CHUNK_SIZE, end)) {
      const bytes = new Uint8Array(Math.min(CHUNK_SIZE, end - at));
      content.read(at, bytes, 0, bytes.length);
      chunks.push({ at: at - base, bytes });
    }
    const byPlace = new Map(chunks.map(({ at, bytes }) => [at, bytes]));
    for (const [number, bytes] of this.#lost) {
      const at = number * LINE_BYTES - base;
      byPlace.get(alignDown(at, CHUNK_SIZE))?.set(bytes, at % CHUNK_SIZE);
    }
    const files = this.files.map((file) => ({ ...file, extents: file.extents.map((extent) => ({ ...extent, pfn: extent.pfn - pgmap.basePfn })) }));
    return { fs: profile.name as FsName, npages: pgmap.npages, files, chunks };
  }

  #readBytes(paddr: number, target: Uint8Array, at: number, length: number): void {
    this.#fs.platform.arena.content.read(paddr, target, at, length);
    if (this.#lost.size === 0) return;
    const last = Math.floor((paddr + length - 1) / LINE_BYTES);
    for (let number = Math.floor(paddr / LINE_BYTES); number <= last; number++) {
      const bytes = this.#lost.get(number);
      if (bytes === undefined) continue;
      const from = Math.max(paddr, number * LINE_BYTES);
      const end = Math.min(paddr + length, (number + 1) * LINE_BYTES);
      target.set(bytes.subarray(from - number * LINE_BYTES, end - number * LINE_BYTES), at + (from - paddr));
    }
  }
}

/** What a cut at this moment would leave of `fs`. EINVAL where nobody has kept track. */
export function cutPower(fs: FileSystem, choice: CutChoice, random: Random): PowerCut {
  const { journal, pgmap, platform } = fs;
  const { persistence } = platform;
  if (journal === null || persistence === null) throw new HmmError('EINVAL', 'power cut', `nobody has kept track of what is durable on ${fs.name}`);
  const pending = choice.journal === 'oldest' ? 0 : choice.journal === 'newest' ? journal.pending : random.below(journal.pending + 1);
  const { files, when } = journal.left(pending);
  const lost = persistence.cut(pgmap.basePfn * 4096, (pgmap.basePfn + pgmap.npages) * 4096, choice.lines, random, when);
  return new PowerCut(fs, choice, files.filter(({ unlinked }) => !unlinked).map(recovered), lost, journal.pending - pending);
}

/** What lies beyond the end goes, but for what was asked for. */
function recovered(file: InodeRecord): InodeRecord {
  const end = pagesFor(file.size);
  const extents: Extent[] = [];
  for (const extent of file.extents) {
    const npages = Math.min(extent.npages, Math.max(0, end - extent.block));
    if (npages === extent.npages || (file.preallocated && extent.state === 'unwritten')) extents.push(extent);
    else if (npages > 0) extents.push({ ...extent, npages });
  }
  return { ...file, extents };
}

/** read(2) of a file of an image: bytes read, fewer at its end. ENOENT. */
export function readImage(image: DeviceImage, name: string, offset: number, target: Uint8Array): number {
  const file = image.files.find((one) => one.name === name);
  if (file === undefined) throw new HmmError('ENOENT', 'read', `no file ${name} was left`);
  const length = Math.max(0, Math.min(target.length, file.size - offset));
  for (const { block, npages, pfn, state } of file.extents) {
    const from = Math.max(offset, block * 4096);
    const end = Math.min(offset + length, (block + npages) * 4096);
    const shift = (pfn - block) * 4096;
    for (const { at, bytes } of state === 'mapped' && from < end ? image.chunks : []) {
      const first = Math.max(from + shift, at);
      const past = Math.min(end + shift, at + bytes.length);
      if (first < past) target.set(bytes.subarray(first - at, past - at), first - shift - offset);
    }
  }
  return length;
}

/** Mounts the image on a device of its size that nobody has used yet. EINVAL where it does not fit; ENOMEM. */
export function mountImage(fs: FileSystem, image: DeviceImage): void {
  const { pgmap, platform, allocator } = fs;
  if (pgmap.npages !== image.npages || fs.profile.name !== image.fs) throw new HmmError('EINVAL', 'mount', `${fs.name} is not the device of the image: ${image.npages} pages with ${image.fs}`);
  const { content } = platform.arena;
  content.watch = null; // what comes with the device is durable
  const isWritten = image.chunks.every(({ at, bytes }) => content.write(pgmap.basePfn * 4096 + at, bytes, 0, bytes.length));
  content.watch = platform.persistence;
  if (!isWritten) throw new HmmError('ENOMEM', 'mount', 'no room in the arena for the bytes');
  for (const { name, size, extents, preallocated, reflinked, extentPages, hinted } of image.files) {
    const inode = fs.create(name, hinted ? extentPages : undefined);
    for (const { block, npages, pfn, state } of extents) {
      inode.extents.insert(block, pgmap.basePfn + pfn, npages, state);
      for (let at = pgmap.basePfn + pfn; at < pgmap.basePfn + pfn + npages; ) {
        const run = allocator.freeRunAt(at);
        const n = run === null ? 1 : Math.min(run.pfn + run.npages, pgmap.basePfn + pfn + npages) - at;
        if (run === null) fs.sharing.share(at, 1);
        else allocator.reserve(at, n);
        at += n;
      }
    }
    Object.assign(inode, { size, preallocated, reflinked, metadataDirty: false });
    fs.logged(inode);
  }
  fs.journal?.commit();
}
