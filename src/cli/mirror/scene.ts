/**
 * The scene of one run: a machine, the real file's bytes on pmem, a process that maps them shared, a device that mirrors it; and
 * what the bytes ought to be at any moment.
 *
 * What they ought to be comes from the real file through its descriptor, with the changes that the steps have made on top: never from
 * the simulation.
 */
import { HmmError, createMirror, type AddressSpace, type DaxFile, type Machine, type Mapping, type Mirror, type PageSize, type Pmem } from '../../index.ts';
import { SECTION_SIZE } from '../../abi.ts';
import { GiB, MiB, PAGE_SIZES, alignDown, alignUp, hex, vpnOf } from '../../units.ts';
import { brokenLeaf, readTable } from './audit.ts';
import type { ApiName, Invalidated, WrittenRange } from './data.ts';
import type { HostFile } from './host.ts';

/** A check that did not hold; the message says what was seen. */
export class CheckFailed extends Error {
  constructor(seen: string) {
    super(seen);
    this.name = 'CheckFailed';
  }
}

export function check(condition: boolean, seen: () => string): void {
  if (!condition) throw new CheckFailed(seen());
}

export interface SceneOptions {
  readonly machine: Machine;
  readonly host: HostFile;
  readonly page: PageSize;
  readonly api: ApiName;
  /** stores reach the real file */
  readonly isShared: boolean;
}

/** Bytes that a step wrote. */
interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class Scene {
  readonly machine: Machine;
  readonly host: HostFile;
  readonly page: PageSize;
  readonly api: ApiName;
  readonly isShared: boolean;
  readonly pmem: Pmem;
  readonly file: DaxFile;
  readonly mm: AddressSpace;
  readonly map: Mapping;
  readonly mirror: Mirror;
  readonly leafBytes: number;
  /** what the kernel raised since `beginStep` */
  raised: Invalidated[] = [];
  /** and what the device heard of it; the 2019 API does not tell it the event */
  #heard: Invalidated[] = [];
  readonly written: WrittenRange[] = [];
  readonly #originals: Patch[] = [];
  #patches: Patch[] = [];
  readonly #holes: { readonly offset: number; readonly end: number }[] = [];
  #raisedBefore = 0;
  #isMapped = true;

  /** Throws ENOMEM or ENOSPC where the arena is too small, BadInput when the file has shrunk. */
  constructor(options: SceneOptions) {
    const { machine, host, page, api, isShared } = options;
    this.machine = machine;
    this.host = host;
    this.page = page;
    this.api = api;
    this.isShared = isShared;
    this.leafBytes = PAGE_SIZES[page].npages * 4096;
    const size = alignUp(host.length, this.leafBytes);
    this.pmem = machine.pmem({ size: size + deviceSlackBytes(this.leafBytes), name: 'pmem0' });
    const source = { path: host.fd, length: host.length, size, extent: page, shared: isShared, readInto: (target: Uint8Array) => host.readAt(0, target) };
    this.file = this.pmem.hostFile('file', source);
    this.mm = machine.mm({ name: 'process' });
    this.map = this.mm.mmap(this.file, { length: size });
    this.mirror = createMirror(this.mm, {
      name: 'device',
      api,
      onInvalidate: ({ event, start, end }) => this.#heard.push({ event, offset: Number(start - this.map.start), length: Number(end - start) }),
    });
  }

  addr(offset: number): bigint {
    return this.map.start + BigInt(offset);
  }

  /** Runs a step with the kernel's invalidations written down, then the audit. `isTimed`: without, as observing takes time; then what the device heard counts. */
  observed(isTimed: boolean, body: () => void): void {
    this.raised = [];
    this.#heard = [];
    this.#raisedBefore = this.machine.counts.invalidations;
    const startVpn = vpnOf(this.map.start);
    const stop = isTimed ? null : this.machine.observe((event) => {
      if (event.type === 'invalidate-start') this.raised.push({ event: event.event, offset: (event.start - startVpn) * 4096, length: (event.end - event.start) * 4096 });
    });
    try {
      body();
      this.audit();
    } finally {
      stop?.();
      if (isTimed) this.raised = this.#heard;
    }
  }

  /** Every invalidation that the kernel raised has come to the device, and no device entry has outlived its page. */
  audit(): void {
    const raised = this.machine.counts.invalidations - this.#raisedBefore;
    check(raised === this.#heard.length, () => `the kernel raised ${raised} invalidations, the device heard ${this.#heard.length}`);
    const { buffer } = this.machine.memory;
    const broken = brokenLeaf(readTable(buffer, this.mirror.tableRoot), readTable(buffer, this.mm.tableRoot), {
      startVpn: vpnOf(this.map.start),
      npages: this.#isMapped ? this.map.length / 4096 : 0,
      size: this.file.size,
      extents: this.file.extents(),
      devicePfn: Number(this.pmem.pgmap.basePfn),
      devicePages: this.pmem.size / 4096,
    });
    check(broken === null, () => broken as string);
  }

  // ── what the bytes ought to be ──

  /** Bytes `[offset, offset + length)` as the file should read; beyond its end zeroes. */
  expected(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const onDisk = Math.max(0, Math.min(length, this.host.length - offset));
    this.host.readAt(offset, bytes.subarray(0, onDisk));
    for (const patch of [...this.#originals, ...this.#patches]) overlay(bytes, offset, patch);
    for (const hole of [...this.#holes, { offset: this.file.size, end: Infinity }]) {
      const from = Math.max(0, hole.offset - offset);
      const to = Math.min(length, hole.end - offset);
      if (from < to) bytes.fill(0, from, to);
    }
    return bytes;
  }

  /** Says that `bytes` were written at `offset`; the first time, what stood there is remembered. */
  patched(by: WrittenRange['by'], offset: number, bytes: Uint8Array): void {
    this.#patches.push({ offset, bytes });
    this.written.push({ by, offset, length: bytes.length });
  }

  /** Remembers what the real file holds in a range that is going to be written. To be called before anything is written. */
  remember(offset: number, length: number): void {
    const original = new Uint8Array(length);
    this.host.readAt(offset, original.subarray(0, Math.max(0, Math.min(length, this.host.length - offset))));
    this.#originals.push({ offset, bytes: original });
  }

  /** What was remembered: the changes are undone by writing these. */
  get originals(): readonly Patch[] {
    return this.#originals;
  }

  /** The file is again what it was. */
  restored(): void {
    this.#patches = [];
  }

  punched(offset: number, length: number): void {
    this.#holes.push({ offset, end: offset + length });
  }

  unmapped(): void {
    this.#isMapped = false;
  }

  // ── looking ──

  /** Compares what `who` reads at `offset` with what ought to be there. */
  compare(who: string, offset: number, got: Uint8Array): void {
    const wanted = this.expected(offset, got.length);
    if (Buffer.compare(got, wanted) === 0) return;
    const at = wanted.findIndex((byte, i) => byte !== got[i]);
    throw new CheckFailed(`${who} reads ${bytesAt(got, at)} at byte ${hex(offset + at)}, where ${bytesAt(wanted, at)} ought to be`);
  }

  deviceReads(offset: number, length: number): void {
    this.compare('the device', offset, this.mirror.read(this.addr(offset), length));
  }

  cpuReads(offset: number, length: number): void {
    this.compare('the CPU', offset, this.mm.load(this.addr(offset), length));
  }

  fileReads(offset: number, length: number): void {
    this.compare('read(2) of the file', offset, this.file.read(offset, Math.min(length, this.file.size - offset)));
  }

  /** The real file: a shared one has what was written, a private one what it always had. */
  realFileReads(offset: number, length: number): void {
    const n = Math.min(length, this.host.length - offset);
    if (n <= 0) return;
    const got = new Uint8Array(n);
    this.host.readAt(offset, got);
    if (this.isShared) return this.compare('the real file', offset, got);
    const wanted = new Uint8Array(n);
    for (const patch of this.#originals) overlay(wanted, offset, patch);
    check(Buffer.compare(got, wanted) === 0, () => `the real file changed at byte ${hex(offset)}`);
  }

  /** A device access that must be refused with `code`. */
  deviceRefused(what: string, code: string, access: () => void): void {
    let seen = 'went through';
    try {
      access();
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      if (error.code === code) return;
      seen = `answered ${error.code}`;
    }
    throw new CheckFailed(`${what} ${seen}, where ${code} ought to come`);
  }

  /** A CPU access that must end in a signal. */
  cpuSignalled(offset: number, signal: 'SIGBUS' | 'SIGSEGV'): void {
    let seen = 'goes through';
    try {
      this.mm.load(this.addr(offset), 1);
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      if ('signal' in error && error.signal === signal) return;
      seen = `ends in ${error.message}`;
    }
    throw new CheckFailed(`a CPU load at byte ${hex(offset)} ${seen}, where ${signal} ought to come`);
  }
}

/** What a device needs beside the file: the file system's own blocks, and room to align the first extent. */
function deviceSlackBytes(leafBytes: number): number {
  return Math.max(leafBytes, 2 * MiB) + 2 * MiB;
}

/** The largest arena, less its last section, which stays unused: offsets have 32 bits. */
export const ARENA_BYTES_MAX = 4 * GiB - SECTION_SIZE;

/** Arena bytes for a file of `length` bytes at these page sizes: its bytes, two page tables, windows of pfn words, small change. */
export function arenaBytesFor(length: number, pages: readonly PageSize[]): number {
  const tables = (page: PageSize): number => Math.ceil((alignUp(length, PAGE_SIZES[page].npages * 4096) / 512) * 1.01);
  return alignUp(alignUp(length, 2 * MiB) + 2 * Math.max(...pages.map(tables)) + 16 * MiB, 2 * MiB);
}

/** The largest file whose `arenaBytesFor` is at most `bytes`. */
export function longestFile(bytes: number, pages: readonly PageSize[]): number {
  let fits = 0;
  for (let step = alignDown(bytes, MiB); step >= MiB; step = alignDown(Math.floor(step / 2), MiB)) {
    while (arenaBytesFor(fits + step, pages) <= bytes) fits += step;
  }
  return fits;
}

function overlay(bytes: Uint8Array, offset: number, patch: Patch): void {
  const from = Math.max(offset, patch.offset);
  const to = Math.min(offset + bytes.length, patch.offset + patch.bytes.length);
  if (from < to) bytes.set(patch.bytes.subarray(from - patch.offset, to - patch.offset), from - offset);
}

/** Up to 8 bytes from `i` on, in hex. */
function bytesAt(bytes: Uint8Array, i: number): string {
  return Array.from(bytes.subarray(i, i + 8), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
