/**
 * The native addon: found, checked, described. Optional: everything else works without it.
 *
 * It maps real files over the arena and holds the C++ walkers that benches compare with. Only the cli, the bench and the api
 * load it and hand it down; nobody below imports this file. Sources: the .cc files beside this one;
 * `npm run build:native` makes `dist/native/daxmirror.node` of them.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { ABI_VERSION } from '../abi.ts';
import { ERRNO, HmmError, checkOptions, type ErrnoCode } from '../errno.ts';
import { elfDefect } from './elf.ts';

/** Names one mapping or host region of this thread. A used-up handle answers EBADF. */
export type NativeHandle = number;

/**
 * A C++ walker. Reads the request block (REQ_* of abi.ts) at arena offset `request`, leaves the words at REQ_OUT and the answers
 * (STOP_VPN, STOP_END, STOP_ENTRY, STOP_REASON, STOP_LEVEL, STOP_SLOT, STOP_DONE, REQ_PGMAP) as the WASM `walk` does, and returns the pages
 * done. `times` (default 1) repeats the walk that often, so that a short range can be timed without the price of the call (with
 * WALK_PER_PAGE the words of one round are the requests of the next).
 *
 * Throws EOPNOTSUPP for a mode the walker does not have (WALK_ACCESSED, a budget; see bench/peers/README.md), EINVAL for a memory that is
 * no arena of this ABI, RangeError for offsets outside the memory.
 */
export type WalkPeer = (memory: Uint8Array, request: number, times?: number) => number;

/** The walkers by name; null where this CPU cannot run one. bench/peers/README.md says what each is. */
export interface WalkPeers {
  /** one branch a test, one store a page, -O3 */
  readonly plain: WalkPeer | null;
  /** written so that the compiler vectorises it */
  readonly autovec: WalkPeer | null;
  /** by hand, 256-bit vectors: the bar */
  readonly avx2: WalkPeer | null;
  /** the same with streaming stores */
  readonly avx2nt: WalkPeer | null;
  /** by hand, 512-bit vectors; for information */
  readonly avx512: WalkPeer | null;
  /** imitation of the 2019 DAX patch's walk: the snapshot, or with WALK_FAULT the fault */
  readonly hmm2019: WalkPeer;
  /** imitation of today's hmm_range_fault; refuses WALK_PGMAP */
  readonly mainline: WalkPeer;
}

/** What the running kernel made of an anonymous region. */
export interface HostRegion {
  readonly handle: NativeHandle;
  readonly npages: number;
  /** pages that /proc/self/pagemap called present after each was touched */
  readonly present: number;
  /** bytes backed by huge pages, by /proc/self/smaps: whether `thp` had its way */
  readonly hugeBytes: number;
}

/** Everything the addon does. `memory` is always a Uint8Array over the arena; offsets are bytes of that view. */
export interface Native {
  /** the file it was loaded from */
  readonly path: string;
  abiVersion(): number;
  /** how `flush` writes lines back: 'clwb', 'clflushopt', 'clflush', or null where it cannot */
  readonly flushInstruction: string | null;

  /**
   * Maps bytes [fileOffset, fileOffset + length) of a real file over [offset, offset + length) of the arena. What stood there is gone.
   *
   * `file` is a path or an open descriptor (which may be closed afterwards). Only pages that hold bytes of the file are mapped: beyond
   * `mappedLength(handle)` the arena keeps its own. Private (default): stores never reach the file. `shared`: stores are the
   * file's, seen by every process; durable after `syncFile`. The mapping keeps `memory` alive until `unmapFile`, and belongs to the
   * thread that made it: at that thread's end it is released.
   *
   * If the file shrinks, an access past its new end reads zeroes instead of ending the process, and the page is listed by `poisoned`.
   *
   * Errors: EINVAL (offset, fileOffset or memory not page aligned, length 0 or outside the memory, empty file, fileOffset past its
   * end), ENOENT, EISDIR, ENODEV (no regular file), EACCES (shared without write permission, or no read permission), EBADF (descriptor),
   * EBUSY (a file is mapped there already), ENOMEM (256 mappings), EIO naming any other that open() gave. A call that throws has changed nothing.
   */
  mapFile(memory: Uint8Array, offset: number, length: number, file: string | number, fileOffset: number, options?: { shared?: boolean }): NativeHandle;
  /** Bytes that are mapped: `length` or the file's rest, whichever is less, rounded up to a page. */
  mappedLength(handle: NativeHandle): number;
  /** Puts zeroes where the file was; never a hole. Concurrency: nobody may touch the range meanwhile. Errors: EBADF. */
  unmapFile(handle: NativeHandle): void;
  /** Makes bytes [offset, offset + length) of a shared mapping durable (msync MS_SYNC). Errors: EBADF, EIO, EINVAL (private, unaligned, outside). */
  syncFile(handle: NativeHandle, offset: number, length: number): void;
  /** Pages, counted from the mapping's start and ascending, that were touched past the end of a file that had shrunk. */
  poisoned(handle: NativeHandle): number[];

  /** Writes the cache lines of [offset, offset + length) back and waits. Errors: EOPNOTSUPP where `flushInstruction` is null. */
  flush(memory: Uint8Array, offset: number, length: number): void;
  /** Asks for huge pages behind the whole pages of [offset, offset + length); whether the kernel took the advice. */
  adviseHuge(memory: Uint8Array, offset: number, length: number): boolean;
  /** CPU time of this thread in ns: what benches measure with, as a busy machine does not count. */
  cpuTime(): number;

  readonly walks: WalkPeers;
  /** REQ_IN pages to REQ_OUT frames or -STOP_*, as the WASM `translateBatch`; returns how many succeeded. Null where this CPU cannot. */
  readonly translateBatch: WalkPeer | null;
  /**
   * A function from page number to frame or -STOP_*, one N-API call an address. `access`: ACCESS_* bits. It takes any number:
   * a bench's peer, not an API. Null where this CPU cannot. Errors: EINVAL (no arena, no root).
   */
  readonly translator: ((memory: Uint8Array, root: number, levels: number, access: number) => (vpn: number) => number) | null;
  /** The limit of stores: of an output window for walks, of the tables for populate and zap. */
  memset(memory: Uint8Array, offset: number, length: number, byte: number): void;

  /**
   * Anonymous memory of this process, every page touched, that the running kernel can be asked about. `bytes`: a multiple of 2 MiB. `hugetlb`
   * (default false) takes it from the pool of huge pages. Errors: ENOMEM (too few are reserved), and what open() and mmap() give.
   */
  hostPagemap(options: { bytes: number; thp: boolean; hugetlb?: boolean }): HostRegion;
  /** Reads the /proc/self/pagemap words of the first `npages`, 512 KiB at a time; returns npages. Errors: EBADF, EINVAL, EIO. */
  hostPagemapRead(handle: NativeHandle, npages: number): number;
  /** `count` areas of 4 anonymous pages in a row in this process, writable and read-only in turn. Errors: EINVAL, ENOMEM (vm.max_map_count). */
  hostAreas(count: number): NativeHandle;
  /** Splits the middle one of a region's areas in three by mprotect() and merges it again, `times` over. Errors: EBADF, EINVAL, ENOMEM. */
  hostSplitMerge(handle: NativeHandle, times: number): void;
  /** mmap() of 4 pages and munmap(), `times` over. Errors: ENOMEM. */
  hostMmapMunmap(times: number): void;
  /** Frees a region of either kind. Errors: EBADF. */
  hostPagemapFree(handle: NativeHandle): void;

  /**
   * Memory calls on the running kernel, in a child process: `steps` are six Int32 words each (call, page, npages, and three of its own),
   * pages counted from address `base`; a memfd of 16 pages can be mapped. What the child said of each step, as text: src/native/guest.cc. Errors: ENOSYS (no Linux), EOPNOTSUPP (pages that are not 4K), EAGAIN, ENOMEM.
   */
  runMemoryOps(base: number, npages: number, steps: Uint8Array): string;
}

export interface LoadNativeOptions {
  /** where DAXMIRROR_NATIVE is looked up; default `process.env` */
  env?: Readonly<Record<string, string | undefined>>;
}

/** Exactly one of the two is null. */
export type LoadedNative = { readonly native: Native; readonly reason: null } | { readonly native: null; readonly reason: string };

interface Binding extends Omit<Native, 'path' | 'mapFile' | 'hostPagemap'> {
  setErrors(factory: (errno: number, op: string, detail: string) => Error): void;
  mapFile(memory: Uint8Array, offset: number, length: number, file: string | number, fileOffset: number, shared: boolean): NativeHandle;
  hostPagemap(bytes: number, thp: boolean, hugetlb: boolean): HostRegion;
}

const require = createRequire(import.meta.url);
const HOW = 'npm run build:native';

/**
 * Finds and loads the addon.
 *
 * DAXMIRROR_NATIVE: `off` leaves it out; a path loads that file or throws; unset (or `on`) takes what the build made beside this file, else
 * a prebuilt one. An addon that is absent or cannot be loaded is a `reason`, one line. One that loads and speaks another ABI than
 * this package throws ENOEXEC naming both versions: it was built from other sources.
 */
export function loadNative(options: LoadNativeOptions = {}): LoadedNative {
  checkOptions('loadNative', options, ['env']);
  const wanted = (options.env ?? process.env)['DAXMIRROR_NATIVE'] ?? '';
  if (wanted === 'off') return { native: null, reason: 'switched off by DAXMIRROR_NATIVE=off' };
  const asked = wanted !== '' && wanted !== 'on';
  const path = asked ? wanted : findAddon();
  if (path === null) return { native: null, reason: `not built: ${HOW}` };
  const loaded = open(path);
  if (typeof loaded !== 'string') return { native: describe(path, loaded), reason: null };
  if (asked) throw new HmmError(existsSync(path) ? 'ENOEXEC' : 'ENOENT', 'loadNative', `DAXMIRROR_NATIVE=${path}: ${loaded}`);
  return { native: null, reason: `${path}: ${loaded}; ${HOW}` };
}

function findAddon(): string | null {
  const built = fileURLToPath(new URL('daxmirror.node', import.meta.url));
  if (existsSync(built)) return built;
  const here = fileURLToPath(new URL('.', import.meta.url));
  if (!existsSync(fileURLToPath(new URL('prebuilds', import.meta.url)))) return null;
  try {
    return (require('node-gyp-build') as { resolve(dir: string): string }).resolve(here);
  } catch {
    return null; // no prebuilt one for this platform
  }
}

/** The binding, or why there is none. Loading a damaged library can end the process, so its shape is looked at first. */
function open(path: string): Binding | string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`;
  }
  const defect = stampDefect(path, bytes) ?? elfDefect(bytes);
  if (defect !== null) return defect;
  const module: { exports: Partial<Binding> } = { exports: {} };
  try {
    process.dlopen(module, path);
  } catch (error) {
    return `cannot be loaded (${String((error as Error).message).split('\n')[0]})`;
  }
  const binding = module.exports;
  if (typeof binding.abiVersion !== 'function' || typeof binding.setErrors !== 'function') return 'is an addon of something else';
  const version = binding.abiVersion();
  if (version !== ABI_VERSION) {
    throw new HmmError('ENOEXEC', 'loadNative', `${path} has ABI version ${version}, this package ${ABI_VERSION}; ${HOW}`);
  }
  return binding as Binding;
}

/** The build leaves the addon's hash beside it. Where there is a stamp it has to match. */
function stampDefect(path: string, bytes: Uint8Array): string | null {
  const stamp = `${path}.json`;
  if (!existsSync(stamp)) return null;
  let sha256: unknown;
  try {
    sha256 = (JSON.parse(readFileSync(stamp, 'utf8')) as { sha256?: unknown }).sha256;
  } catch {
    return 'its stamp cannot be read';
  }
  return createHash('sha256').update(bytes).digest('hex') === sha256 ? null : 'is not the file that was built';
}

function toError(errno: number, op: string, detail: string): Error {
  const code = (Object.keys(ERRNO) as ErrnoCode[]).find((name) => ERRNO[name] === errno);
  return code !== undefined ? new HmmError(code, op, detail) : new HmmError('EIO', op, `${detail}: ${getSystemErrorName(-errno)}`);
}

function describe(path: string, binding: Binding): Native {
  binding.setErrors(toError);
  const { setErrors: _, mapFile, hostPagemap, ...same } = binding;
  return Object.freeze({
    ...same,
    path,
    mapFile(memory: Uint8Array, offset: number, length: number, file: string | number, fileOffset: number, options: { shared?: boolean } = {}) {
      checkOptions('mapFile', options, ['shared']);
      return mapFile(memory, offset, length, file, fileOffset, options.shared ?? false);
    },
    hostPagemap(options: { bytes: number; thp: boolean; hugetlb?: boolean }) {
      checkOptions('hostPagemap', options, ['bytes', 'thp', 'hugetlb']);
      return hostPagemap(options.bytes, options.thp, options.hugetlb ?? false);
    },
  });
}
