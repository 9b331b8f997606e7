/**
 * Replays a scenario that a v5.2.1 kernel answered, and answers in the same words, for comparison.
 *
 * One operation a line, as the kernel's record has them: `map`, `touch`, `snap`, `fault`, `hmm`, `mirror`, `events`, ... Each mapping
 * starts on a fresh 1 GiB boundary. An operation that the rooms do not have yet, or that names something such an operation would
 * have made, is answered `null`: the caller counts those. Of answers only what is about HMM and its notifiers is given
 * (and the bytes and errno of the rest): `cong`, `vmas` and `smaps` of the records are left aside.
 */
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, killDaxDevice, type DaxDevice } from '../../dist/dax/index.js';
import { FaultSignal, HmmError, Livelock } from '../../dist/errno.js';
import type { FileSystem, FsName, Inode } from '../../dist/fs/index.js';
import {
  hmmMirrorRegister, hmmMirrorUnregister, type HmmMirror, type Hmm2019, type Range2019,
} from '../../dist/hmm/index.js';
import { cpuLoad, cpuStore, madviseDontneed, mprotect, munmap, type NotifierRange } from '../../dist/mm/index.js';
import type { PgMap } from '../../dist/memremap/index.js';
import { DEVICE_BASE_PFN } from '../../dist/page/index.js';
import { runOn, type Sleepable, type Task } from '../../dist/sched/index.js';
import { VALID, WRITE, callPages, frameOf, kindOf, letterOf, makeRange, type CallAnswer, type CallOptions, type RangeSetup } from './probe2019.ts';
import { Unsupported, byteRuns, flagsOf, foldEvents, options, pages, prot, requestsOf, signedHex, size, type LoggedEvent } from './recordText.ts';
import type { Rig } from './rig.ts';

const GIB_PAGES = 2 ** 18;
const SECOND_NS = 1_000_000_000;

export type Answer = Record<string, unknown>;

interface LoggedMirror {
  readonly mirror: HmmMirror;
  readonly range: Range2019;
  readonly dispose: () => void;
  log: LoggedEvent[];
}

export class Recording {
  readonly #rig: Rig;
  readonly #areas = new Map<string, number>();
  readonly #files = new Map<string, Inode | DaxDevice>();
  readonly #systems = new Map<string, FileSystem>();
  readonly #devices = new Map<string, DaxDevice>();
  readonly #mirrors = new Map<string, LoggedMirror>();
  readonly #firstFrames = new Map<string, number>();
  readonly #pgmapBases = new Map<string, number>();
  readonly #tasks = new Map<string, Task>();
  /** dying pagemaps, to be brought back */
  #revive: (() => void) | null = null;
  #open: NotifierRange | null = null;
  #next = GIB_PAGES;

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  /** Carries out one line; null where it cannot be. */
  do(line: string): Answer | null {
    const words = line.split(/\s+/);
    try {
      return this.#do(words[0] as string, words.slice(1));
    } catch (error) {
      if (error instanceof Unsupported) return null;
      if (FaultSignal.is(error) && 'signal' in error) return { err: error.signal, code: (error as FaultSignal).reason };
      if (HmmError.is(error)) return { err: error.code };
      throw error;
    }
  }

  /** Unregisters what is still registered. */
  end(): void {
    for (const id of this.#mirrors.keys()) this.#unmirror(id);
  }

  #do(op: string, args: readonly string[]): Answer {
    const [a = '', b = '', c = ''] = args;
    switch (op) {
      case 'note':
        return {};
      case 'fs':
        return this.#newFileSystem(a, args.slice(1));
      case 'open':
        return this.#openFile(a, b);
      case 'close':
        return this.#ok();
      case 'sh':
        if (a !== 'umount') throw new Unsupported();
        return { exit: 0 };
      case 'map':
        return this.#map(a, b, c, args.slice(3));
      case 'hole':
        this.#areas.set(a, this.#next);
        this.#next += GIB_PAGES * 2;
        return this.#ok();
      case 'unmap':
        return this.#done(munmap(this.#rig.mm, this.#page(a), pages(b)));
      case 'protect':
        return this.#done(mprotect(this.#rig.mm, this.#page(a), pages(b), prot(c)));
      case 'advise':
        // No huge pages of anonymous memory: what would be made of them cannot be compared.
        if (c === 'hugepage') this.#areas.delete(a);
        if (c !== 'dontneed') throw new Unsupported();
        return this.#done(madviseDontneed(this.#rig.mm, this.#page(a), pages(b)));
      case 'touch':
        return this.#touch(a, b, options(args.slice(2)));
      case 'peek':
        return this.#bytes(pages(b) * 4096, (bytes) => cpuLoad(this.#rig.mm, this.#page(a), 0, bytes));
      case 'poke':
        return this.#done(cpuStore(this.#rig.mm, this.#page(a), 0, new Uint8Array(size(b)).fill(Number(c))));
      case 'pread':
        return this.#bytes(size(c), (bytes) => daxRead(this.#inode(a), size(b), bytes));
      case 'pwrite':
        return this.#done(daxWrite(this.#inode(a), size(b), new Uint8Array(size(c)).fill(Number(args[3]))));
      case 'truncate':
        return this.#done(daxTruncate(this.#inode(a), size(b)));
      case 'fsync':
        return this.#done(daxFsync(this.#inode(a)));
      case 'falloc':
        return this.#falloc(a, b, size(c), size(args[3] ?? '0'));
      case 'snap':
      case 'fault':
      case 'hmm':
        return this.#call(op, this.#page(a), pages(b), args.slice(2));
      case 'dread':
      case 'dwrite':
        return this.#deviceAccess(this.#page(a), pages(b), op === 'dwrite' ? Number(c) : null);
      case 'pgmap':
        return this.#pgmap(a);
      case 'dying':
        return this.#dying(this.#pagemap(a));
      case 'alive':
        this.#revive?.();
        return this.#ok();
      case 'numa':
        return this.#numa(this.#page(a), pages(b));
      case 'mirror':
        return this.#mirror(a, this.#page(b), pages(c), args[3] === 'again');
      case 'unmirror':
        this.#unmirror(a);
        return this.#ok();
      case 'events':
        return this.#events(a);
      case 'inv_start':
      case 'inv_start_nb':
      case 'inv_start_nb_lock':
      case 'inv_start_nb_sem':
        return this.#invalidateByHand(op, this.#page(a), pages(b));
      case 'inv_end':
        if (this.#open !== null) this.#rig.mm.notifiers.end(this.#open);
        return this.#ok();
      case 'async':
        return this.#unbind(a, args.slice(1).join(' '));
      case 'wait':
        return this.#wait(a, Number(b));
      default:
        throw new Unsupported();
    }
  }

  // ── files, devices and mappings ──

  #newFileSystem(name: string, how: readonly string[]): Answer {
    // XFS of that era is DAX only without reflink: the recorded two are one.
    const kind = { ext4: 'ext4', xfs: 'xfs', xfsn: 'xfs' }[name] as FsName | undefined;
    if (how.length > 0 || kind === undefined) throw new Unsupported();
    this.#systems.set(name, this.#rig.fileSystem(196608, kind, name));
    return {};
  }

  #openFile(id: string, place: string): Answer {
    const [where = '', name = ''] = place.split(':');
    if (where === 'dev') {
      const level = { dax4k: 0, dax2m: 1, dax1g: 2 }[name];
      if (level === undefined) throw new Unsupported();
      const device = this.#devices.get(name) ?? this.#rig.daxDevice(level === 2 ? 2 * GIB_PAGES : 65536, level, name);
      this.#devices.set(name, device);
      this.#files.set(id, device);
      return this.#ok();
    }
    const fs = this.#systems.get(where);
    if (fs === undefined) throw new Unsupported();
    this.#files.set(id, fs.inodes.get(name) ?? fs.create(name));
    return this.#ok();
  }

  #map(id: string, length: string, what: string, rest: readonly string[]): Answer {
    const opts = options(rest);
    const npages = pages(length);
    const skew = pages(opts['skew'] ?? '0');
    const at = opts['at'] === undefined ? this.#next + skew : this.#page(opts['at']);
    if (opts['at'] === undefined) this.#next = Math.ceil((at + npages) / GIB_PAGES) * GIB_PAGES + GIB_PAGES;
    if (['huge2m', 'huge1g', 'populate', 'locked', 'align'].some((word) => word in opts)) throw new Unsupported();
    const file = what === 'anon' ? null : this.#file(what);
    const start = this.#rig.map(file, {
      npages, at, prot: (opts['prot'] ?? 'rw').replace('-', ''), shared: file !== null && !('private' in opts), pgoff: pages(opts['off'] ?? '0'), sync: 'sync' in opts, replace: true,
    });
    this.#areas.set(id, start);
    return this.#ok();
  }

  #falloc(id: string, how: string, offset: number, length: number): Answer {
    const inode = this.#inode(id);
    if (how === 'alloc' || how === 'keep') return this.#done(daxAllocate(inode, offset, length, how === 'keep'));
    if (how === 'punch') return this.#done(daxPunch(inode, offset, length));
    throw new Unsupported();
  }

  #touch(address: string, how: string, opts: Record<string, string>): Answer {
    const first = this.#page(address);
    let or = 0;
    try {
      for (let i = 0; i < Number(opts['n'] ?? 1); i++) or |= this.#rig.touch(first + i * pages(opts['step'] ?? '4K'), how as 'r' | 'w', Number(opts['byte'] ?? 1));
    } catch (error) {
      // The processor's own fault on a NUMA hint is not modelled: it finds everything there and no access.
      throw error instanceof Livelock ? new Unsupported() : error;
    }
    return how === 'r' ? { err: 'ok', or } : this.#ok();
  }

  #numa(start: number, npages: number): Answer {
    const { mm } = this.#rig;
    let changed = 0;
    for (let vpn = start; vpn < start + npages; vpn++) {
      if (!mm.pageTable.look(vpn)) continue;
      if (mm.pageTable.level > 0) throw new Unsupported();
      this.#rig.hintNuma(vpn);
      changed++;
    }
    return { err: 'ok', changed };
  }

  // ── walks ──

  #call(op: string, start: number, npages: number, rest: readonly string[]): Answer {
    const opts = options(rest);
    const setup: RangeSetup = {
      defaultFlags: op === 'hmm' ? flagsOf(opts['def'] ?? '') : op === 'fault' ? ('w' in opts ? VALID | WRITE : VALID) : 0n,
      pfnFlagsMask: op === 'hmm' ? flagsOf(opts['mask'] ?? '') : 0n,
      requests: requestsOf(opts['req'] ?? ''),
      pageShift: Number(opts['shift'] ?? 12),
    };
    const { answer, livelock } = this.#watched(start, npages, setup, { fault: op !== 'snap', block: !('nonblock' in opts), once: 'once' in opts });
    return this.#report(op, answer, 'once' in opts, livelock);
  }

  /** What the probe does: after three seconds it takes `valid` away by hand, and takes the answer for the last. */
  #watched(start: number, npages: number, setup: RangeSetup, how: CallOptions): { answer: CallAnswer; livelock: boolean } {
    const { sched } = this.#rig.platform;
    let livelock = false;
    const answer = callPages(this.#rig, start, npages, setup, {
      ...how,
      onRange: (range) => sched.spawn('watchdog', this.#watchdog(range, () => (livelock = true))),
      givesUp: () => livelock,
    });
    sched.run(runOn);
    return { answer, livelock };
  }

  /** A device that faults a page, then reads or writes behind its word. */
  #deviceAccess(start: number, npages: number, value: number | null): Answer {
    const { content } = this.#rig.platform.arena;
    const bytes = new Uint8Array(npages * 4096).fill(value ?? 0);
    for (let i = 0; i < npages; i++) {
      const { answer, livelock } = this.#watched(start + i, 1, { defaultFlags: value === null ? VALID : VALID | WRITE }, { fault: true });
      const word = answer.words[0] as bigint;
      const err = typeof answer.result === 'string' ? answer.result : letterOf(word).startsWith('V') ? null : 'ENODATA';
      if (err !== null) {
        const got = value === null && i > 0 ? { bytes: byteRuns(bytes.subarray(0, i * 4096)) } : {};
        return { err, done: i * 4096, ...got, ...(livelock ? { livelock } : {}) };
      }
      if (value === null) content.read(frameOf(word) * 4096, bytes, i * 4096, 4096);
      else content.write(frameOf(word) * 4096, bytes, i * 4096, 4096);
    }
    return value === null ? { err: 'ok', done: bytes.length, bytes: byteRuns(bytes) } : { err: 'ok', done: bytes.length };
  }

  *#watchdog(range: Range2019, onLivelock: () => void): Sleepable<void> {
    yield* this.#rig.platform.sched.sleep(3 * SECOND_NS);
    if (range.hmm === null) return;
    range.valid = false;
    onLivelock();
  }

  #report(op: string, answer: CallAnswer, once: boolean, livelock: boolean): Answer {
    const { result, calls, faults, valid } = answer;
    const report: Answer = typeof result === 'number' ? { err: 'ok', count: result } : { err: result };
    if (livelock) report['livelock'] = true;
    if (op !== 'snap' && calls === 1 && faults > 0 && !livelock) report['faults'] = faults;
    if (answer.dropped) report['sem'] = 'dropped';
    if (once) report['valid'] = valid;
    else if (!valid[1] && !livelock) report['valid'] = false;
    report['pfns'] = this.#runs(answer.words);
    return report;
  }

  #runs(words: BigUint64Array): Answer[] {
    const runs: (Answer & { n: number })[] = [];
    let key = '';
    for (const [i, word] of words.entries()) {
      const f = letterOf(word);
      const pfn = f.startsWith('V') ? frameOf(word) : -1;
      const k = pfn < 0 ? '' : kindOf(this.#rig, pfn);
      const inDevice = pfn >= DEVICE_BASE_PFN;
      const same = `${f} ${k} ${inDevice ? pfn - i : ''}`;
      const last = runs.at(-1);
      if (last !== undefined && same === key) {
        last.n++;
        continue;
      }
      key = same;
      if (inDevice && !this.#firstFrames.has(k)) this.#firstFrames.set(k, pfn);
      const run: Answer & { n: number } = { n: 1, f: f.replace('?', 'in:') };
      if (k !== '') run['k'] = k;
      if (inDevice) run['at'] = signedHex((pfn - (this.#firstFrames.get(k) as number)) * 4096);
      runs.push(run);
    }
    return runs;
  }

  // ── pagemaps ──

  #pgmap(label: string): Answer {
    const map = this.#pagemap(label);
    const base = this.#pgmapBases.get(label);
    if (base === undefined) this.#pgmapBases.set(label, map.refs);
    const report: Answer = { pgmap: base === undefined ? 'base' : `+${map.refs - base}` };
    return map.state === 'live' ? report : { ...report, dying: true };
  }

  /** Kills the pagemap with everything still mapped; `alive` undoes it, which no kernel can: the map is registered anew. */
  #dying(map: PgMap): Answer {
    const { pgmaps } = this.#rig.platform;
    pgmaps.kill(map);
    this.#revive = () => {
      map.state = 'live';
      // Any change of the list writes the walker's table again.
      pgmaps.register('elsewhere', 'private', 2 ** 39, 1);
    };
    return this.#ok();
  }

  #unbind(id: string, command: string): Answer {
    const { sched, pgmaps } = this.#rig.platform;
    const namespace = /^sh echo namespace0\.0 >.*\/unbind$/.test(command) ? this.#systems.get('ext4') : undefined;
    const device = /device_dax\/unbind/.test(command) ? [...this.#devices.values()][0] : undefined;
    if (namespace !== undefined) this.#tasks.set(id, sched.spawn('unbind', pgmaps.drain(namespace.pgmap)));
    else if (device !== undefined) this.#tasks.set(id, sched.spawn('unbind', killDaxDevice(device)));
    else throw new Unsupported();
    return this.#ok();
  }

  #wait(id: string, timeoutMs: number): Answer {
    const task = this.#tasks.get(id);
    if (task === undefined) throw new Unsupported();
    const { sched } = this.#rig.platform;
    sched.spawn('timeout', sched.sleep(timeoutMs * 1_000_000));
    const step = { kind: 'wait', what: 'a task', touches: '', ready: () => task.finished, holder: () => null, deadlineNs: sched.nowNs + timeoutMs * 1_000_000 } as const;
    this.#rig.run((function* waitFor(): Sleepable<void> { yield step; })());
    return task.finished ? { done: true } : { done: false };
  }

  // ── mirrors ──

  #mirror(id: string, start: number, npages: number, again: boolean): Answer {
    const { range, dispose } = makeRange(this.#rig, start, npages);
    const logged: { log: LoggedMirror['log'] } = { log: [] };
    const mirror = hmmMirrorRegister(this.#rig.mm, id, {
      *syncCpuDevicePagetables(update) {
        if (again && !update.blockable) return false;
        logged.log.push({ start: update.start, end: update.end, block: update.blockable, valid: range.valid });
        return true;
      },
    });
    if (typeof mirror === 'string') throw new Unsupported();
    this.#mirrors.set(id, Object.assign(logged, { mirror, range, dispose }));
    return this.#ok();
  }

  #unmirror(id: string): void {
    const mirror = this.#mirrors.get(id);
    if (mirror === undefined) throw new Unsupported();
    this.#mirrors.delete(id);
    mirror.dispose();
    this.#rig.run(hmmMirrorUnregister(mirror.mirror));
  }

  #events(id: string): Answer {
    const mirror = this.#mirrors.get(id);
    if (mirror === undefined) throw new Unsupported();
    const { range } = mirror;
    const events = foldEvents(mirror.log).map(({ start, end, block, valid, n }) => ({
      start: signedHex((start - range.start) * 4096),
      end: signedHex((end - range.start) * 4096),
      ...(n === 1 ? {} : { n, each: `0x${(((end - start) / n) * 4096).toString(16)}` }),
      block,
      valid,
    }));
    mirror.log = [];
    const { notifiers } = range.hmm as Hmm2019;
    return notifiers === 0 ? { events, valid: range.valid } : { events, valid: range.valid, notifiers };
  }

  #invalidateByHand(op: string, start: number, npages: number): Answer {
    const { sched } = this.#rig.platform;
    const blockable = op === 'inv_start';
    const hmm = [...this.#mirrors.values()][0]?.range.hmm ?? null;
    const lock = hmm === null ? null : op.endsWith('_lock') ? hmm.lock : op.endsWith('_sem') ? hmm.mirrorsSem : null;
    if (lock !== null) this.#rig.run(lock.write(sched));
    const range: NotifierRange = { event: 'CLEAR', start, end: start + npages, blockable, owner: null };
    const started = this.#rig.run(this.#rig.mm.notifiers.start(range));
    lock?.writeUnlock(sched);
    this.#open = started ? range : null;
    return started ? this.#ok() : { err: 'EAGAIN' };
  }

  // ── names and small things ──

  #ok(): Answer {
    return { err: 'ok' };
  }

  #done(body: Sleepable<unknown>): Answer {
    this.#rig.run(body);
    return this.#ok();
  }

  #bytes(length: number, read: (bytes: Uint8Array) => Sleepable<unknown>): Answer {
    const bytes = new Uint8Array(length);
    const got = this.#rig.run(read(bytes));
    return { err: 'ok', bytes: byteRuns(typeof got === 'number' ? bytes.subarray(0, got) : bytes) };
  }

  #page(address: string): number {
    const [, id = '', offset = '0'] = /^([^+]+)(?:\+(.*))?$/.exec(address) ?? [];
    const start = this.#areas.get(id);
    if (start === undefined) throw new Unsupported();
    return start + pages(offset);
  }

  #file(id: string): Inode | DaxDevice {
    const file = this.#files.get(id);
    if (file === undefined) throw new Unsupported();
    return file;
  }

  #inode(id: string): Inode {
    const file = this.#file(id);
    if (!('fs' in file)) throw new Unsupported();
    return file;
  }

  #pagemap(label: string): PgMap {
    const map = this.#systems.get(label)?.pgmap ?? this.#devices.get(label)?.pgmap;
    if (map === undefined) throw new Unsupported();
    return map;
  }
}
