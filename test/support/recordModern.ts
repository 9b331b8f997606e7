/**
 * Replays a scenario that a v6.1 or v6.12 kernel answered, and answers in the words of the record, for comparison (contract.ts).
 *
 * One operation a line: `map a 4M f`, `touch a+4K w`, `fault a 2M w`, `mirror m a 4M`, `events m`, ... Each mapping starts on a fresh
 * 1 GiB boundary (plus `skew`), as the probe in the guest placed them; each `snap`, `fault`, `hmm`, `dread` and `dwrite` is a driver
 * of its own: it subscribes to its range, reads until nothing interfered, and goes. A line that cannot be understood throws.
 */
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, daxZeroRange, type DaxDevice } from '../../dist/dax/index.js';
import { FaultSignal, HmmError } from '../../dist/errno.js';
import type { FileSystem, Inode } from '../../dist/fs/index.js';
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../dist/hmm/index.js';
import { VM_MAYSHARE, cpuLoad, cpuStore, madviseDontneed, mprotect, munmap, protString } from '../../dist/mm/index.js';
import { runOn, type Sleepable, type Task } from '../../dist/sched/index.js';
import type { Answer } from './contract.ts';
import { options, pages, prot, signedHex, size } from './recordText.ts';
import { cutRuns, hex, requests, runsOf, subscribe, walkPages, type Mirror, type Requests, type Word } from './recordWalk.ts';
import type { Rig } from './rig.ts';

const PAGE_SIZE = 4096;
const PUD_PAGES = 2 ** 18;
const FS_PAGES = 768 * 256;
/** The guest's device-dax instances: `node` is what /proc/PID/maps calls them. */
const DAX_DEVICES: Readonly<Record<string, { readonly npages: number; readonly alignLevel: number; readonly node: string }>> = {
  dax4k: { npages: 65536, alignLevel: 0, node: 'dax4.0' },
  dax2m: { npages: 65536, alignLevel: 1, node: 'dax3.0' },
  dax1g: { npages: 2 * PUD_PAGES, alignLevel: 2, node: 'dax5.0' },
};

/** An address in an area that could not be mapped: the probe passes over such a line, and says so. */
class NoArea extends Error {}

/** Replays one record; `do` its lines in order. */
export class ModernRecording {
  readonly #rig: Rig;
  readonly #areas = new Map<string, number>();
  readonly #files = new Map<string, { readonly place: string; readonly what: Inode | DaxDevice }>();
  readonly #systems = new Map<string, FileSystem>();
  readonly #devices = new Map<string, DaxDevice>();
  readonly #mirrors = new Map<string, Mirror>();
  readonly #tasks = new Map<string, { readonly task: Task; readonly command: string }>();
  /** first frame shown of each kind: frames are written down relative to it */
  readonly #firstFrames = new Map<string, number>();
  #next = 0x2000_0000_0000 / PAGE_SIZE;
  #vmas = '[]';

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  /** Carries out one line. `vmas` is in the answer where they changed. */
  do(line: string): Answer {
    const [op = '', ...args] = line.split(/\s+/);
    const answer = this.#answer(op, args);
    const vmas = this.#listVmas();
    const text = JSON.stringify(vmas);
    if (text === this.#vmas) return answer;
    this.#vmas = text;
    return { ...answer, vmas };
  }

  #answer(op: string, args: readonly string[]): Answer {
    try {
      return this.#do(op, args);
    } catch (error) {
      if (error instanceof NoArea) return { skip: `no address ${error.message}` };
      if (FaultSignal.is(error) && 'signal' in error) return { err: error.signal, code: (error as FaultSignal).reason, addr: this.#relative(Number(error.addr)) };
      if (HmmError.is(error)) return { err: error.code };
      throw error;
    }
  }

  #do(op: string, args: readonly string[]): Answer {
    const [a = '', b = '', c = '', d = ''] = args;
    const { mm } = this.#rig;
    switch (op) {
      case 'fs':
        if (a !== 'ext4' && a !== 'xfs') throw new Error(`no file system ${a}`);
        this.#systems.set(a, this.#rig.fileSystem(FS_PAGES, a));
        return { exit: 0 };
      case 'open':
        return this.#open(a, b);
      case 'sh':
        return this.#shell(args.join(' '));
      case 'async':
        return this.#unbind(a, args.slice(1).join(' '));
      case 'wait':
        return this.#wait(a);
      case 'map':
        return this.#map(a, pages(b), c, options(args.slice(3)));
      case 'hole':
        this.#areas.set(a, this.#place(pages(b), 0));
        return { err: 'ok' };
      case 'unmap':
        return this.#done(munmap(mm, this.#page(a), pages(b)));
      case 'protect':
        return this.#done(mprotect(mm, this.#page(a), pages(b), prot(c)));
      case 'advise':
        if (c !== 'dontneed') throw new Error(`no advice ${c}`);
        return this.#done(madviseDontneed(mm, this.#page(a), pages(b)));
      case 'touch':
        return this.#touch(this.#page(a), b, options(args.slice(2)));
      case 'peek':
        return this.#bytes(size(b), (bytes) => cpuLoad(mm, ...this.#split(a), bytes));
      case 'poke':
        return this.#done(cpuStore(mm, ...this.#split(a), new Uint8Array(size(b)).fill(Number(c))));
      case 'snap':
        return this.#walk(a, b, { defaultFlags: 0n });
      case 'fault':
        return this.#walk(a, b, { defaultFlags: c === 'w' ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT });
      case 'hmm':
        return this.#walk(a, b, requests(options(args.slice(2))));
      case 'dread':
        return this.#deviceAccess(this.#byte(a), size(b), null);
      case 'dwrite':
        return this.#deviceAccess(this.#byte(a), size(b), Number(c));
      case 'mirror':
        this.#mirrors.set(a, subscribe(this.#rig, this.#page(b), pages(c)));
        return { err: 'ok' };
      case 'events':
        return this.#events(a);
      default:
        return this.#fileOp(op, a, [b, c, d]);
    }
  }

  // ── files and devices ──

  #open(id: string, name: string): Answer {
    const [place = '', file = ''] = name.split(':');
    if (place === 'dev') {
      const setup = DAX_DEVICES[file];
      if (setup === undefined) throw new Error(`no device ${file}`);
      const device = this.#devices.get(file) ?? this.#rig.daxDevice(setup.npages, setup.alignLevel, file);
      this.#devices.set(file, device);
      this.#files.set(id, { place: file, what: device });
      return { err: 'ok' };
    }
    const fs = this.#systems.get(place);
    if (fs === undefined) throw new Error(`no file system ${place}`);
    this.#files.set(id, { place, what: fs.inodes.get(file) ?? fs.create(file) });
    return { err: 'ok' };
  }

  #fileOp(op: string, id: string, [a = '', b = '', c = '']: readonly string[]): Answer {
    if (op === 'msync') {
      const vpn = this.#page(id);
      const vma = this.#rig.mm.vmas.at(vpn);
      const inode = vma?.file?.inode;
      if (vma === null || inode === undefined || !('fs' in inode)) throw new Error(`msync: no file at ${id}`);
      const pgoff = vma.pgoff + (vpn - vma.start);
      return this.#done(daxFsync(inode as Inode, pgoff, pgoff + pages(a)));
    }
    const inode = this.#inode(id);
    switch (op) {
      case 'truncate':
        return this.#done(daxTruncate(inode, size(a)));
      case 'fsync':
        return this.#done(daxFsync(inode));
      case 'pwrite':
        return this.#done(daxWrite(inode, size(a), new Uint8Array(size(b)).fill(Number(c))));
      case 'pread':
        return this.#bytes(size(b), (bytes) => daxRead(inode, size(a), bytes));
      case 'falloc':
        if (a === 'alloc' || a === 'keep') return this.#done(daxAllocate(inode, size(b), size(c), a === 'keep'));
        if (a === 'punch') return this.#done(daxPunch(inode, size(b), size(c)));
        if (a === 'zero') return this.#done(daxZeroRange(inode, size(b), size(c), false));
        throw new Error(`no falloc ${a}`);
      case 'stat':
        return { size: hex(inode.size), dax: true };
      case 'extents':
        return this.#extents(id, inode);
      default:
        throw new Error(`no operation ${op}`);
    }
  }

  #extents(id: string, inode: Inode): Answer {
    const { place } = this.#file(id);
    const extents = Array.from(inode.extents, ({ block, npages, pfn, state }) => ({
      off: hex(block * PAGE_SIZE), len: hex(npages * PAGE_SIZE), at: this.#frame(place, pfn), f: state === 'unwritten' ? 'unwritten' : '',
    }));
    return { extents };
  }

  /** Of shell commands one: dd, which writes zeroes by the page until the device is full. */
  #shell(command: string): Answer {
    const [, place = '', name = '', count = ''] = /^dd if=\/dev\/zero of=\/mnt\/(\w+)\/(\w+) bs=4k count=(\d+)\b/.exec(command) ?? [];
    const inode = this.#systems.get(place)?.create(name);
    if (inode === undefined) throw new Error(`no command ${command}`);
    const end = Number(count) * PAGE_SIZE;
    // In bulk while there is room, then by the page: dd's own writes are of pages, and take the last free ones too.
    let chunk = new Uint8Array(256 * PAGE_SIZE);
    for (let offset = 0; offset < end; ) {
      try {
        offset += this.#rig.run(daxWrite(inode, offset, chunk.subarray(0, end - offset)));
      } catch (error) {
        if (!HmmError.is(error, 'ENOSPC')) throw error;
        if (chunk.length === PAGE_SIZE) return { exit: 1 };
        chunk = chunk.subarray(0, PAGE_SIZE);
      }
    }
    return { exit: 0 };
  }

  #unbind(id: string, command: string): Answer {
    const [, name = ''] = /\/oracle\/dev\/(\w+)\).*>\/sys\/bus\/dax\/drivers\/device_dax\/unbind/.exec(command) ?? [];
    const device = this.#devices.get(name);
    if (device === undefined) throw new Error(`no command ${command}`);
    this.#tasks.set(id, { task: this.#rig.platform.sched.spawn('unbind', this.#rig.core.unbind(device)), command });
    return { err: 'ok' };
  }

  #wait(id: string): Answer {
    const waited = this.#tasks.get(id);
    if (waited === undefined) throw new Error(`no task ${id}`);
    this.#rig.platform.sched.run(runOn);
    return waited.task.finished ? { async: waited.command, done: true, exit: 0 } : { async: waited.command, done: false };
  }

  // ── mappings ──

  #map(id: string, npages: number, what: string, opts: Readonly<Record<string, string>>): Answer {
    const file = what === 'anon' ? null : this.#file(what).what;
    const at = opts['at'] === undefined ? this.#place(npages, pages(opts['skew'] ?? '0')) : this.#page(opts['at']);
    this.#rig.map(file, {
      npages, at, replace: true, prot: opts['prot'] ?? 'rw', shared: file !== null && !('private' in opts), pgoff: pages(opts['off'] ?? '0'), sync: 'sync' in opts,
    });
    this.#areas.set(id, at);
    return { err: 'ok' };
  }

  /** Addresses of their own, with a gap of 1 GiB at least behind them. */
  #place(npages: number, skew: number): number {
    const at = this.#next + skew;
    this.#next = Math.floor((at + npages) / PUD_PAGES + 2) * PUD_PAGES;
    return at;
  }

  #touch(first: number, how: string, opts: Readonly<Record<string, string>>): Answer {
    let or = 0;
    for (let i = 0; i < Number(opts['n'] ?? 1); i++) or |= this.#rig.touch(first + i * pages(opts['step'] ?? '4K'), how as 'r' | 'w', Number(opts['byte'] ?? 1));
    return how === 'r' ? { err: 'ok', or } : { err: 'ok' };
  }

  #listVmas(): Answer[] {
    return Array.from(this.#rig.mm.vmas, ({ start, end, flags, file, pgoff }) => {
      const area = { at: this.#relative(start * PAGE_SIZE), len: hex((end - start) * PAGE_SIZE), perm: `${protString(flags)}${(flags & VM_MAYSHARE) === 0 ? 'p' : 's'}` };
      if (file === null) return area;
      const { name } = file.inode;
      return { ...area, file: DAX_DEVICES[name]?.node ?? name, off: hex(pgoff * PAGE_SIZE) };
    });
  }

  // ── walks and devices ──

  #walk(address: string, length: string, asked: Requests): Answer {
    const start = this.#page(address);
    const { err, busy, words } = walkPages(this.#rig, start, pages(length), asked);
    return { err: err ?? 'ok', ...(busy && err !== 'EBUSY' ? { busy } : {}), pfns: runsOf(words, start, (kind, pfn) => this.#frame(kind, pfn)) };
  }

  /** A device that faults a page, then reads (`value` null) or writes its bytes behind the word; it stops where a page cannot be had. */
  #deviceAccess(start: number, length: number, value: number | null): Answer {
    const { content } = this.#rig.platform.arena;
    const bytes = new Uint8Array(length).fill(value ?? 0);
    const defaultFlags = value === null ? HMM_PFN_REQ_FAULT : HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
    let done = 0;
    let err: string | null = null;
    while (done < length) {
      const within = (start + done) % PAGE_SIZE;
      const part = Math.min(length - done, PAGE_SIZE - within);
      const walked = walkPages(this.#rig, (start + done - within) / PAGE_SIZE, 1, { defaultFlags });
      err = walked.err;
      if (err !== null) break;
      const from = (walked.words[0] as Word).pfn * PAGE_SIZE + within;
      if (value === null) content.read(from, bytes, done, part);
      else content.write(from, bytes, done, part);
      done += part;
    }
    return { err: err ?? 'ok', done, ...(value === null && done > 0 ? { bytes: cutRuns(bytes.subarray(0, done)) } : {}) };
  }

  // ── mirrors ──

  #events(id: string): Answer {
    const mirror = this.#mirrors.get(id);
    if (mirror === undefined) throw new Error(`no mirror ${id}`);
    const offset = (vpn: number): string => signedHex((vpn - mirror.sub.start) * PAGE_SIZE);
    const events = mirror.log.splice(0).map(({ event, start, end, blockable }) => ({ type: event, start: offset(start), end: offset(end), block: blockable }));
    return { events, stale: this.#rig.mm.notifiers.readRetry(mirror.sub, mirror.seq) };
  }

  // ── names and small things ──

  #done(body: Sleepable<unknown>): Answer {
    this.#rig.run(body);
    return { err: 'ok' };
  }

  #bytes(length: number, read: (bytes: Uint8Array) => Sleepable<unknown>): Answer {
    const bytes = new Uint8Array(length);
    const got = this.#rig.run(read(bytes));
    return { err: 'ok', ...(got === 0 ? {} : { bytes: cutRuns(typeof got === 'number' ? bytes.subarray(0, got) : bytes) }) };
  }

  /** 'a+100' in bytes. */
  #byte(address: string): number {
    const [id = '', offset = '0'] = address.split('+');
    const start = this.#areas.get(id);
    if (start === undefined) throw new NoArea(address);
    return start * PAGE_SIZE + size(offset);
  }

  #page(address: string): number {
    const [vpn, within] = this.#split(address);
    if (within !== 0) throw new Error(`${address} is not page aligned`);
    return vpn;
  }

  #split(address: string): [vpn: number, within: number] {
    const byte = this.#byte(address);
    return [Math.floor(byte / PAGE_SIZE), byte % PAGE_SIZE];
  }

  /** An address by the area that begins last at or below it; of two the one made first. */
  #relative(byte: number): string {
    let best: readonly [string, number] | null = null;
    for (const area of this.#areas) if (area[1] * PAGE_SIZE <= byte && (best === null || area[1] > best[1])) best = area;
    return best === null ? 'outside' : `${best[0]}+${hex(byte - best[1] * PAGE_SIZE)}`;
  }

  #frame(kind: string, pfn: number): string {
    const first = this.#firstFrames.get(kind) ?? pfn;
    this.#firstFrames.set(kind, first);
    return signedHex((pfn - first) * PAGE_SIZE);
  }

  #file(id: string): { readonly place: string; readonly what: Inode | DaxDevice } {
    const file = this.#files.get(id);
    if (file === undefined) throw new Error(`no file ${id}`);
    return file;
  }

  #inode(id: string): Inode {
    const { what } = this.#file(id);
    if (!('fs' in what)) throw new Error(`${id} is a device`);
    return what;
  }
}
