/**
 * The scene of a run: a machine with a file system, files and processes; and, beside each file, what it ought to hold.
 *
 * `step` carries one operation out and compares: what was read, the size of the file, and where checks run, their findings. Everything
 * wrong is an FsxFailure.
 */
import { Checker, findingText } from '../check/index.ts';
import { daxDedupe, daxUnshare, daxZeroRange, openDaxFile } from '../dax/index.ts';
import { Deadlock, HmmError, InvariantError, KernelCrash, Livelock } from '../errno.ts';
import { FILE_PAGES_MAX, mountImage, type FileSystem, type Inode, type DeviceImage } from '../fs/index.ts';
import type { MachineCore } from '../machine.ts';
import { exitMm, type FallocMode, type FileCalls, type MappedFile } from '../mm/index.ts';
import { Random, type Policy, type Sleepable } from '../sched/index.ts';
import { MiB, alignUp, pagesFor } from '../units.ts';
import type { Accessor } from './accessors.ts';
import { FsxFailure } from './failure.ts';
import { hex, operationText, type AccessorName, type Beside, type Layout, type Operation } from './operation.ts';
import { PowerOff, PowerWatch } from './powerCut.ts';
import { FsxProcess } from './process.ts';
import { Noise, Seen, Shadow } from './shadow.ts';

const FALLOC: Readonly<Partial<Record<Operation['name'], FallocMode>>> = { punch_hole: 'punch', collapse_range: 'collapse', insert_range: 'insert' };

interface OpenFile {
  readonly inode: Inode;
  mapped: MappedFile;
  readonly shadow: Shadow;
}

/** What is looked at after every operation, beside its own answer. */
export interface Care {
  readonly sizes: boolean;
  /** every byte of the file, by read(2) */
  readonly contents: boolean;
}

export const USUAL_CARE: Care = { sizes: true, contents: false };

export class Scene {
  readonly core: MachineCore;
  readonly power: PowerWatch | null;
  readonly #layout: Layout;
  readonly #isChecked: boolean;
  #fs: FileSystem;
  #checker: Checker | null = null;
  #files: readonly OpenFile[] = [];
  #processes: readonly FsxProcess[] = [];
  readonly #noise: Noise;
  readonly #care: Care;
  readonly #seen: Seen;
  readonly #used = new Set<AccessorName>();
  /** operations so far */
  count = 0;

  /** On a machine that is fresh, or has just been reset. */
  constructor(core: MachineCore, layout: Layout, noise: Noise, check: boolean, care: Care = USUAL_CARE) {
    this.#care = care;
    this.core = core;
    this.#noise = noise;
    this.#layout = layout;
    this.#isChecked = check;
    this.#seen = new Seen(layout.fileBytes);
    const { power, everyPoint } = layout;
    this.power = power === 'off' ? null : new PowerWatch(core.trackPersistence({ eadr: power === 'eadr' }), noise, everyPoint);
    this.#fs = this.#boot(null);
  }

  get fs(): FileSystem {
    return this.#fs;
  }

  get checker(): Checker | null {
    return this.#checker;
  }

  sizeOf(file: number): number {
    return (this.#files[file] as OpenFile).shadow.size;
  }

  skips(operation: Operation): boolean {
    return operation.skipped || (this.#files[operation.file] as OpenFile).shadow.skips(operation, this.fs.reflink);
  }

  /** The next operation. Throws FsxFailure. */
  step(operation: Operation): void {
    const number = this.count++;
    if (this.power === null) this.#perform(operation, number);
    else this.#performPowered(this.power, operation, number);
  }

  #perform(operation: Operation, number: number): void {
    if (this.skips(operation)) {
      if (operation.closeOpen) this.#run('close', this.#closeOpen(operation.file));
      return;
    }
    const { beside } = operation;
    if (beside === null) this.#run(operation.name, this.#carryOut(operation, number));
    else this.#race(operation, number, beside);
    const { shadow, inode } = this.#files[operation.file] as OpenFile;
    shadow.apply(operation, number);
    if (beside !== null) this.#readAgain(operation.file, beside);
    if (operation.closeOpen) this.#run('close', this.#closeOpen(operation.file));
    if (this.#care.sizes && inode.size !== shadow.size) throw new FsxFailure('size', `file${operation.file} has ${hex(inode.size)} bytes and ought to have ${hex(shadow.size)}`);
    if (this.#care.contents) this.#run('read', this.#read(operation.file, 0, shadow.size));
    this.#check(operation);
  }

  /** The effect of the next operation, without a file system: for runs that begin later. */
  simulate(operation: Operation): void {
    const number = this.count++;
    if (this.skips(operation)) return;
    (this.#files[operation.file] as OpenFile).shadow.apply(operation, number);
  }

  /** Makes files what simulated operations would have made of them. */
  writeImages(): void {
    for (const { shadow, mapped } of this.#files) {
      this.#run('write', (mapped.calls as FileCalls).write(0, shadow.bytes.subarray(0, shadow.size)));
    }
  }

  /** At the end: every byte of every file, by read and by everyone who has accessed it. Throws FsxFailure. */
  finish(): void {
    for (const [file, { shadow }] of this.#files.entries()) {
      this.#run('read', this.#read(file, 0, shadow.size));
      if (shadow.size === 0) continue;
      for (const process of this.#processes) {
        for (const by of this.#used) this.#run('mapread', this.#mapRead(process, file, { offset: 0, length: shadow.size, by }));
      }
    }
    const finding = this.checker?.end('end')[0];
    if (finding !== undefined) throw new FsxFailure('rule', findingText(finding));
  }

  /** What file `file` holds, by read(2). */
  contents(file: number): Uint8Array {
    const { mapped, shadow } = this.#files[file] as OpenFile;
    const bytes = new Uint8Array(shadow.size);
    this.#run('read', (mapped.calls as FileCalls).read(0, bytes));
    return bytes;
  }

  close(): void {
    this.checker?.close();
  }

  // ── inside ──

  /** The machine comes up, with what a power cut left or with empty files. */
  #boot(image: DeviceImage | null): FileSystem {
    const { core } = this;
    const layout = this.#layout;
    const fs = core.newFileSystem('pmem0', deviceBytes(layout) / 4096, layout.fs);
    if (image !== null) mountImage(fs, image);
    this.#files = Array.from({ length: layout.files }, (_, i) => {
      const inode = image === null ? fs.create(`file${i}`) : fs.lookup(`file${i}`);
      inode.opens++;
      return { inode, mapped: openDaxFile(inode, true), shadow: new Shadow(layout.fileBytes, this.#noise) };
    });
    const mms = Array.from({ length: layout.processes }, (_, i) => core.newMm(`process${i}`));
    this.#checker = this.#isChecked ? new Checker(core, { findingsMax: 1 }) : null;
    this.#checker?.watchBlocks(fs);
    this.#processes = mms.map((mm) => new FsxProcess(mm, layout, this.#checker));
    this.#used.clear();
    this.#fs = fs;
    if (this.power !== null) this.#settle(this.power);
    return fs;
  }

  /** What lies in the last page of a file beyond its end goes, as after a truncate to the size that it has; then all is durable. */
  #settle(power: PowerWatch): void {
    for (const { inode, mapped, shadow } of this.#files) {
      const calls = mapped.calls as FileCalls;
      this.#run('truncate', calls.truncate(inode.size));
      this.#run('fsync', calls.sync(0, FILE_PAGES_MAX));
      this.#run('read', calls.read(0, shadow.bytes));
      shadow.size = inode.size;
    }
    power.start(this.#fs, this.#files.map(({ inode, shadow }) => ({ name: inode.name, bytes: shadow.bytes, size: shadow.size, blocks: blocksOf(inode) })));
  }

  /** An operation while it is kept what of it is durable; the power may fail. */
  #performPowered(power: PowerWatch, operation: Operation, number: number): void {
    power.begin(operation, number, !this.skips(operation));
    try {
      this.#perform(operation, number);
      power.end(operation, number);
    } catch (error) {
      if (!(error instanceof PowerOff)) throw error;
    }
    if (operation.cut === null) return;
    const image = power.cut(operation);
    this.#checker?.close();
    this.core.reset();
    this.#boot(image);
  }

  #run(op: string, body: Sleepable<void | number>): void {
    try {
      this.core.platform.sched.runToEnd(op, body);
    } catch (error) {
      throw failureOf(error);
    }
  }

  *#carryOut(operation: Operation, number: number): Sleepable<void> {
    const { name, offset, length, dest, keepSize, file, by } = operation;
    const { mapped, inode, shadow } = this.#files[file] as OpenFile;
    const calls = mapped.calls as FileCalls;
    const process = this.#processes[operation.process] as FsxProcess;
    switch (name) {
      case 'read':
        return yield* this.#read(file, offset, length);
      case 'write':
        return yield* this.#write(calls, offset, this.#noise.of(number, offset, length));
      case 'mapread':
        return yield* this.#mapRead(process, file, operation);
      case 'mapwrite':
        if (offset + length > shadow.size) yield* calls.truncate(offset + length);
        yield* process.ensure(file, mapped, { offset, length, write: true, by });
        this.#used.add(by);
        yield* process.accessor(by).write(process.vpnOf(file) + Math.floor(offset / 4096), offset % 4096, this.#noise.of(number, offset, length));
        if (operation.flush) this.#flush(process, operation, number);
        return;
      case 'fork':
        return yield* this.#fork(process, operation, number);
      case 'truncate':
        return yield* calls.truncate(length);
      case 'fallocate':
        if (operation.unshare && this.fs.reflink) return yield* daxUnshare(inode, offset, length, keepSize);
        return yield* calls.fallocate(keepSize ? 'keep' : 'alloc', offset, length);
      case 'zero_range':
        return yield* daxZeroRange(inode, offset, length, keepSize);
      case 'clone_range':
        return yield* (calls.clone as NonNullable<FileCalls['clone']>)(inode, offset, length, dest);
      case 'dedupe_range':
        if ((yield* daxDedupe(inode, inode, { from: offset, length, to: dest })) !== shadow.isSame(operation)) {
          throw new FsxFailure('data', `the bytes at ${hex(offset)} and ${hex(dest)} of file${file} ought to be ${shadow.isSame(operation) ? 'the same' : 'different'}, and dedupe_range found otherwise`);
        }
        return;
      case 'copy_range': {
        // What the kernel does where the file system copies nothing by itself.
        const bytes = this.#seen.room(offset, length);
        yield* calls.read(offset, bytes);
        return yield* this.#write(calls, dest, bytes);
      }
      case 'fsync':
        yield* calls.sync(0, FILE_PAGES_MAX);
        return this.power?.synced(file, number);
      case 'msync':
        if (yield* process.sync(file, operation)) this.power?.synced(file, number, offset, offset + length);
        return;
      case 'map':
        return yield* process.map(file, mapped, operation.sync);
      case 'unmap':
        return yield* process.unmap(file, operation);
      case 'mprotect':
        return yield* process.protect(file, mapped, operation);
      default:
        return yield* calls.fallocate(FALLOC[name] as FallocMode, offset, length);
    }
  }

  /** Who has stored flushes it: durable with MAP_SYNC, and else if the metadata is. */
  #flush(process: FsxProcess, { file, offset, length }: Operation, number: number): void {
    process.flush(file, offset, length);
    if (process.isSynchronous(file)) this.power?.persisted(file, number, offset, length);
  }

  *#read(file: number, offset: number, length: number): Sleepable<void> {
    const { mapped } = this.#files[file] as OpenFile;
    const bytes = this.#seen.room(offset, length);
    const n = yield* (mapped.calls as FileCalls).read(offset, bytes);
    if (n !== length) throw new FsxFailure('refused', `read returned ${hex(n)} bytes of ${hex(length)}`);
    this.#compare('read', file, offset, bytes);
  }

  *#write(calls: FileCalls, offset: number, bytes: Uint8Array): Sleepable<void> {
    const n = yield* calls.write(offset, bytes);
    if (n !== bytes.length) throw new FsxFailure('refused', `write took ${hex(n)} bytes of ${hex(bytes.length)}`);
  }

  /** The last page is read to its end: what lies beyond the file must read as zero. */
  *#mapRead(process: FsxProcess, file: number, { offset, length, by }: { offset: number; length: number; by: AccessorName }): Sleepable<void> {
    const { mapped, shadow } = this.#files[file] as OpenFile;
    const lastPage = alignUp(shadow.size, 4096) - 4096;
    const upTo = offset + length > lastPage ? lastPage + 4096 : offset + length;
    yield* process.ensure(file, mapped, { offset, length, write: false, by });
    this.#used.add(by);
    const bytes = this.#seen.room(offset, upTo - offset);
    yield* process.accessor(by).read(process.vpnOf(file) + Math.floor(offset / 4096), offset % 4096, bytes);
    this.#compare(`${by} in ${process.mm.name}`, file, offset, bytes);
  }

  /** A child loads what is there, stores something else, and exits. */
  *#fork(process: FsxProcess, { file, offset, length, by }: Operation, number: number): Sleepable<void> {
    const { mapped } = this.#files[file] as OpenFile;
    yield* process.restore(file, mapped);
    const child = yield* this.core.fork(process.mm, `child of ${process.mm.name}`);
    const accessor: Accessor = process.childAccessor(by, child);
    const vpn = process.vpnOf(file) + Math.floor(offset / 4096);
    const bytes = this.#seen.room(offset, length);
    yield* accessor.read(vpn, offset % 4096, bytes);
    this.#compare(`${by} in a child of ${process.mm.name}`, file, offset, bytes);
    yield* accessor.write(vpn, offset % 4096, this.#noise.of(number, offset, length));
    yield* exitMm(child);
    yield* accessor.close();
    this.core.mms.splice(this.core.mms.indexOf(child), 1);
  }

  *#closeOpen(file: number): Sleepable<void> {
    const open = this.#files[file] as OpenFile;
    open.inode.opens--;
    this.fs.closed(open.inode);
    open.inode.opens++;
    open.mapped = openDaxFile(open.inode, true);
  }

  /** The operation and the read, in an order that the seed says; the read may well be refused. */
  #race(operation: Operation, number: number, beside: Beside): void {
    const { sched } = this.core.platform;
    const process = this.#processes[beside.process] as FsxProcess;
    const { mapped } = this.#files[operation.file] as OpenFile;
    // Mapped anew nothing is in any table yet: the read has to fault.
    this.#run('map', process.map(operation.file, mapped, false));
    this.#used.add(beside.by);
    const accessor = process.accessor(beside.by);
    const bytes = new Uint8Array(beside.length);
    const vpn = process.vpnOf(operation.file) + Math.floor(beside.offset / 4096);
    sched.spawn('operation', this.#carryOut(operation, number));
    sched.spawn('read beside', tolerant(accessor.read(vpn, beside.offset % 4096, bytes)));
    try {
      sched.run(overtakingPolicy(beside.seed));
    } catch (error) {
      throw failureOf(error);
    }
  }

  /** What was read beside an operation is there still to be read. */
  #readAgain(file: number, { process, by, offset, length }: Beside): void {
    const n = Math.min(length, this.sizeOf(file) - offset);
    if (n > 0) this.#run('mapread', this.#mapRead(this.#processes[process] as FsxProcess, file, { offset, length: n, by }));
  }

  #compare(who: string, file: number, offset: number, got: Uint8Array): void {
    const { shadow } = this.#files[file] as OpenFile;
    const at = this.#seen.firstDifference(shadow, offset, got.length);
    if (at < 0) return;
    const { bytes } = shadow;
    let wrong = 0;
    for (let i = at; i < got.length; i++) if (got[i] !== bytes[offset + i]) wrong++;
    throw new FsxFailure('data', `${who} sees ${hex(got[at] as number)} at ${hex(offset + at)} of file${file}, which ought to hold ${hex(bytes[offset + at] as number)}; ${wrong} of ${got.length} bytes are wrong`);
  }

  #check(operation: Operation): void {
    if (this.checker === null) return;
    const [finding] = this.checker.step(operationText(operation), `operation ${this.count}, from 1, of the seed or the log`);
    if (finding !== undefined) throw new FsxFailure('rule', findingText(finding));
  }
}

/** Which block each page of a file has; -1: none with bytes. */
function blocksOf({ extents, size }: Inode): number[] {
  const blocks = new Array<number>(pagesFor(size)).fill(-1);
  for (const { block, npages, pfn, state } of extents) {
    for (let i = 0; state === 'mapped' && i < npages && block + i < blocks.length; i++) blocks[block + i] = pfn + i;
  }
  return blocks;
}

/** Room for every file several times over: some layouts leave much of it unused. */
function deviceBytes({ fileBytes, files }: Layout): number {
  return alignUp(64 * MiB + 4 * files * fileBytes, 2 * MiB);
}

/** Of the arena: the device's bytes, tables, and what the machine has of its own. */
export function arenaBytes(layout: Layout): number {
  return alignUp(deviceBytes(layout) + 128 * MiB, 64 * MiB);
}

function* tolerant(body: Sleepable<void>): Sleepable<void> {
  try {
    yield* body;
  } catch (error) {
    if (!HmmError.is(error) || error instanceof Deadlock) throw error;
  }
}

/** One gets so many steps far, is overtaken by all that the other does, and comes to its end: where most of what is wrong shows. */
function overtakingPolicy(seed: number): Policy {
  const random = new Random(BigInt(seed));
  const first = random.below(3) === 0 ? 'operation' : 'read beside';
  let steps = random.below(2 ** (1 + random.below(5)));
  return {
    choose(ready) {
      const at = ready.findIndex(({ name }) => (name === first) === steps > 0);
      steps = Math.max(0, steps - 1);
      return Math.max(0, at);
    },
  };
}

/** What the model throws when it refuses or misbehaves; anything else is a defect of this program. */
function failureOf(error: unknown): FsxFailure {
  if (error instanceof FsxFailure) return error;
  if (error instanceof Deadlock || error instanceof InvariantError || error instanceof KernelCrash || error instanceof Livelock) return new FsxFailure('crash', error.message);
  if (HmmError.is(error)) return new FsxFailure('refused', error.message);
  throw error;
}
