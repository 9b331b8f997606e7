/**
 * Power cuts of a run: what a cut would leave of each file is held against what was promised of it.
 *
 * At a cut several images are looked at: everything as old as it may be, as new as it may be, one of each, and two at random. One of them
 * is what the machine finds when it comes up again.
 */
import { cutPower, type CutChoice, type FileSystem, type DeviceImage, type PowerCut } from '../fs/index.ts';
import { Random } from '../sched/index.ts';
import type { Persistence } from '../persistence/index.ts';
import { FsxFailure } from './failure.ts';
import { operationText, type Operation } from './operation.ts';
import { FilePromises } from './promises.ts';
import type { Noise } from './shadow.ts';

/** Thrown in the middle of an operation: the power has failed. */
export class PowerOff extends Error {}

const CHOICES: readonly CutChoice[] = [
  { lines: 'oldest', journal: 'oldest' },
  { lines: 'newest', journal: 'newest' },
  { lines: 'oldest', journal: 'newest' },
  { lines: 'newest', journal: 'oldest' },
  { lines: 'random', journal: 'random' },
  { lines: 'random', journal: 'random' },
];

export interface CutCounts {
  /** times that the power failed, and moments looked at without */
  cuts: number;
  points: number;
  images: number;
  /** lines and changes of metadata that were lost, in all images */
  linesLost: number;
  recordsLost: number;
}

export interface CutFile {
  readonly name: string;
  /** as large as the file may become */
  readonly bytes: Uint8Array;
  readonly size: number;
  /** which block each page has, -1 none */
  readonly blocks: readonly number[];
}

export class PowerWatch {
  readonly counts: CutCounts = { cuts: 0, points: 0, images: 0, linesLost: 0, recordsLost: 0 };
  readonly #persistence: Persistence;
  readonly #noise: Noise;
  readonly #everyPoint: boolean;
  #fs: FileSystem | null = null;
  #names: readonly string[] = [];
  #promises: readonly FilePromises[] = [];
  #buffer = new Uint8Array(0);
  /** where in the operation the power failed */
  #where = '';

  constructor(persistence: Persistence, noise: Noise, everyPoint: boolean) {
    this.#persistence = persistence;
    this.#noise = noise;
    this.#everyPoint = everyPoint;
  }

  /** The machine is up; all of the files is durable. */
  start(fs: FileSystem, files: readonly CutFile[]): void {
    this.#fs = fs;
    this.#names = files.map(({ name }) => name);
    this.#promises = files.map(({ bytes, size, blocks }, i) => new FilePromises(i, bytes, size, this.#noise, blocks));
    this.#buffer = new Uint8Array(Math.max(...files.map(({ bytes }) => bytes.length)));
  }

  /** An operation begins; at its cut's point PowerOff is thrown. `effect`: it is not passed over. */
  begin(operation: Operation, number: number, effect: boolean): void {
    const { cut, file } = operation;
    if (effect) (this.#promises[file] as FilePromises).begin(operation, number);
    if (cut === null && !this.#everyPoint) return;
    let left = cut?.point ?? Infinity;
    let points = 0;
    this.#where = `after operation ${number + 1}, ${operationText(operation)}`;
    this.#persistence.onPoint = (point) => {
      points++;
      const where = `at point ${points}, before a ${point}, of operation ${number + 1}, ${operationText(operation)}`;
      if (this.#everyPoint) this.#lookPoint(number, where);
      if (left-- > 0) return;
      this.#where = where;
      throw new PowerOff();
    };
  }

  /** It is over. */
  end(operation: Operation, number: number): void {
    this.#persistence.onPoint = null;
    if (this.#everyPoint) this.#lookPoint(number, `after operation ${number + 1}, ${operationText(operation)}`);
  }

  /** fsync, or msync of part of a file. */
  synced(file: number, number: number, offset = 0, end = Infinity): void {
    (this.#promises[file] as FilePromises).synced(number, offset, end);
  }

  /** Bytes were stored and flushed through a MAP_SYNC mapping. */
  persisted(file: number, number: number, offset: number, length: number): void {
    (this.#promises[file] as FilePromises).persisted(number, offset, length);
  }

  /** The power fails; what is left of the device. Throws FsxFailure where that breaks a promise. */
  cut(operation: Operation): DeviceImage {
    this.#persistence.onPoint = null;
    this.counts.cuts++;
    const random = new Random(BigInt(operation.cut?.seed ?? 0));
    const found = CHOICES.map((choice) => this.#look(choice, random, this.#where));
    return (found[random.below(found.length)] as PowerCut).save();
  }

  #lookPoint(number: number, where: string): void {
    this.counts.points++;
    const random = new Random(BigInt(number) * 1000n + BigInt(this.counts.points));
    for (const choice of CHOICES) this.#look(choice, random, where);
  }

  #look(choice: CutChoice, random: Random, where: string): PowerCut {
    const found = cutPower(this.#fs as FileSystem, choice, random);
    this.counts.images++;
    this.counts.linesLost += found.linesLost;
    this.counts.recordsLost += found.recordsLost;
    const [twice] = found.claimedTwice;
    if (twice !== undefined) this.#fail(found, where, twice, null);
    for (const [i, promises] of this.#promises.entries()) {
      const file = found.find(this.#names[i] as string);
      if (file === null) this.#fail(found, where, `${this.#names[i] as string} is not there any more`, null);
      const { size } = file;
      if (size > this.#buffer.length) this.#fail(found, where, `${file.name} has ${size} bytes, more than it ever had`, null);
      found.read(file, 0, this.#buffer);
      const fault = promises.check(this.#buffer, size);
      if (fault !== null) this.#fail(found, where, fault.what, fault.offset < 0 ? null : { name: file.name, offset: fault.offset });
    }
    return found;
  }

  #fail({ choice, linesLost, recordsLost }: PowerCut, where: string, what: string, at: { readonly name: string; readonly offset: number } | null): never {
    const lines = `cache lines ${choice.lines}: ${linesLost} lost`;
    const records = `metadata ${choice.journal}: ${recordsLost} ${recordsLost === 1 ? 'change' : 'changes'} lost`;
    throw new FsxFailure('power cut', `${what}\n  the power failed ${where} (${lines}; ${records})\n  missing: ${this.#missing(at, recordsLost)}`);
  }

  /** What would have kept the byte. */
  #missing(at: { readonly name: string; readonly offset: number } | null, recordsLost: number): string {
    const fs = this.#fs as FileSystem;
    const inode = at === null ? undefined : fs.inodes.get(at.name);
    if (at !== null && inode !== undefined) {
      const index = Math.floor(at.offset / 4096);
      const map = fs.iomap(inode, index, index + 1);
      const why = map.kind === 'mapped' ? this.#persistence.why((map.pfn + (index - map.start)) * 4096 + (at.offset % 4096)) : null;
      if (why !== null) return why;
    }
    return recordsLost > 0 ? 'a journal commit of the metadata that leads there' : 'nothing: what is durable there is wrong';
  }
}
