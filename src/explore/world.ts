/**
 * The machine of a model and what its tasks are made of: files, processes, devices, and accesses whose refusal is an answer.
 *
 * What is watched is held to the guarantee before every step: no entry of a device leads to a freed block; outside an invalidation it
 * points where the CPU's does, with no more rights. At the end the checker looks at everything (check/).
 */
import { Checker, type Finding, type WatchedMirror } from '../check/index.ts';
import { openDaxDevice, openDaxFile, type DaxDevice } from '../dax/index.ts';
import { DeviceMirror, attachLegacy, attachModern } from '../dmirror/index.ts';
import { HmmError } from '../errno.ts';
import type { ExtentPages, FileSystem, FsName, Inode } from '../fs/index.ts';
import { Kvm } from '../kvm/index.ts';
import type { MachineCore } from '../machine.ts';
import type { Platform } from '../memremap/index.ts';
import { VM_READ, VM_WRITE, cpuLoad, cpuStore, mmap, type Mm } from '../mm/index.ts';
import type { PageTable } from '../pgtable/index.ts';
import type { Policy, Sleepable, Task } from '../sched/index.ts';
import { SteppedReader } from '../share/index.ts';
import { hex, type Vpn } from '../units.ts';
import { Violation } from './model.ts';

/** A device's whole table, for the checker. A class: an object written down with a getter gets a shape of its own each time. */
class WatchedDevice implements WatchedMirror {
  readonly name: string;
  readonly mm: Mm;
  readonly table: PageTable;
  readonly #device: DeviceMirror;

  constructor(device: DeviceMirror) {
    [this.name, this.mm, this.table, this.#device] = [device.name, device.mm, device.table, device];
  }

  get attached(): boolean {
    return this.#device.attached && !this.#device.closed;
  }

  vpnOf(page: Vpn): Vpn {
    return page;
  }
}

/** One page of a device's table, to be looked at before every step. */
interface Watched {
  readonly device: DeviceMirror;
  readonly vpn: Vpn;
}

export class World {
  readonly core: MachineCore;
  /** what each task came to: 'ok' or an errno */
  readonly answers: Record<string, string> = {};
  readonly #watched: Watched[] = [];
  readonly #systems: FileSystem[] = [];
  /** found, and this kernel's own: a field of its profile does it */
  readonly known: Finding[] = [];
  readonly #checker: Checker;
  readonly #name: string;
  /** everything is checked after each step, so that who did it is known */
  readonly #careful: boolean;
  /** who made the last step */
  #last: Task | null = null;
  /** devices whose stale entries are such */
  readonly #stale = new Set<DeviceMirror>();

  /** A machine as just created. */
  constructor(core: MachineCore, name = 'model', careful = false) {
    core.reset();
    this.core = core;
    this.#careful = careful;
    this.#name = name;
    this.#checker = new Checker(core);
  }

  get platform(): Platform {
    return this.core.platform;
  }

  /** Carries out what belongs to the start or the end. */
  run<T>(body: Sleepable<T>): T {
    return this.platform.sched.runToEnd('model', body);
  }

  /** A file system of so many pages. */
  fileSystem(name: FsName = 'ext4', npages = 64): FileSystem {
    const fs = this.core.newFileSystem('pmem', npages, name);
    this.watchBlocks(fs);
    return fs;
  }

  /** Looks at which blocks of this file system are free, too. */
  watchBlocks(fs: FileSystem): void {
    this.#systems.push(fs);
    this.#checker.watchBlocks(fs);
  }

  /** A file of so many pages, all written, or the first so many of them; its blocks come in units of `unit` pages. */
  file(fs: FileSystem, name: string, npages: number, written = npages, unit: ExtentPages = 1): Inode {
    const inode = fs.create(name, unit);
    if (written > 0) fs.allocateWritten(inode, 0, written);
    fs.setSize(inode, npages * 4096);
    return inode;
  }

  process(name = 'p'): Mm {
    return this.core.newMm(name);
  }

  /** Maps a file (shared) or anonymous memory (null, private), readable and writable; its first page. */
  map(mm: Mm, what: Inode | DaxDevice | null, npages: number): Vpn {
    const file = what === null ? null : 'pgmap' in what ? openDaxDevice(what) : openDaxFile(what, true);
    return this.run(mmap(mm, { npages, prot: VM_READ | VM_WRITE, shared: what !== null, file, pgoff: 0, start: null, fixed: 'hint', sync: false, vmFlags: 0 }));
  }

  /** A device that mirrors `mm`; pages `[start, end)` of its table are watched. */
  device(mm: Mm, start: Vpn, end: Vpn, { name = 'gpu', api = 'modern' as 'modern' | '2019' } = {}): DeviceMirror {
    const device = new DeviceMirror(name, mm);
    device.port = api === 'modern' ? attachModern(device) : attachLegacy(device);
    this.watch(device, start, end);
    return device;
  }

  /** A virtual machine with `npages` of memory, which the process has at `at`. The checker looks at its table at the end. */
  guest(mm: Mm, at: Vpn, npages: number, name = 'vm'): Kvm {
    const guest = new Kvm(name, mm);
    guest.slots.add(0, 0, npages, at);
    return guest;
  }

  /** A Worker that reads the table of `mm`, stopped wherever the owner could get ahead of it. One a machine. */
  worker(mm: Mm, name = 'worker'): SteppedReader {
    return new SteppedReader(name, mm);
  }

  watch(device: DeviceMirror, start: Vpn, end: Vpn): void {
    const known = this.#watched.some((one) => one.device === device);
    for (let vpn = start; vpn < end; vpn++) this.#watched.push({ device, vpn });
    if (known) return;
    this.#checker.watch(new WatchedDevice(device));
  }

  /** A task; an errno ends it and is its answer. `touches`: what it works on before its first point. */
  task(name: string, body: Sleepable<unknown>, touches = '*'): Task {
    this.answers[name] = 'ok';
    return this.platform.sched.spawn(name, this.#answered(name, body), touches);
  }

  /** A task that answers for itself. */
  spawn(name: string, body: Sleepable<unknown>, touches = '*'): Task {
    return this.platform.sched.spawn(name, body, touches);
  }

  /** The page's first byte as the process reads it, or the signal that it gets. */
  byte(mm: Mm, vpn: Vpn): string {
    if (!mm.alive) return 'gone';
    const target = new Uint8Array(1);
    try {
      this.run(cpuLoad(mm, vpn, 0, target));
      return String(target[0]);
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      return error.message.split(' ')[1] as string;
    }
  }

  store(mm: Mm, vpn: Vpn, byte: number): Sleepable<void> {
    return cpuStore(mm, vpn, 0, Uint8Array.of(byte));
  }

  /** Runs the tasks as `policy` says, with a look before every step and a check of everything at the end. Throws Violation. */
  play(policy: Policy, ending: () => string): string {
    try {
      this.platform.sched.run({
        choose: (ready, current) => {
          this.look();
          if (this.#careful && this.#last !== null) this.#judge(this.#checker.step(this.#name));
          const index = policy.choose(ready, current);
          this.#last = ready[index] ?? null;
          return index;
        },
      });
    } catch (error) {
      // What it died of was seen before. A schedule that is cut short died of nothing.
      if (error instanceof Error && !(error instanceof Violation)) this.#judge([...this.#checker.step(this.#name), ...(HmmError.is(error, 'EDEADLK') ? this.#checker.end(this.#name) : [])]);
      throw error;
    }
    this.look();
    this.#judge([...this.#checker.step(this.#name), ...this.#checker.end(this.#name)]);
    const answers = Object.entries(this.answers).map(([task, answer]) => `${task} ${answer}`);
    return [...answers, ending()].filter((one) => one !== '').join(', ');
  }

  close(): void {
    this.#checker.close();
  }

  /** What is watched against the CPU's tables. Throws Violation. */
  look(): void {
    for (const { device, vpn } of this.#watched) {
      if (!device.attached || device.closed || (this.#stale.size > 0 && this.#stale.has(device))) continue;
      const pfn = device.translate(vpn, false);
      if (pfn < 0) continue;
      const { mm } = device;
      for (const fs of this.#systems) {
        if (fs.pgmap.covers(pfn) && fs.allocator.isFree(pfn)) return this.#broken(device, 'blocks-owned', `${device.name} reaches frame ${hex(pfn)}, a freed block, at page ${hex(vpn)}`);
      }
      if (mm.notifiers.active > 0) continue;
      const hasTable = mm.alive || mm.mmapLock.held === 'write'; // exit keeps it until all is unmapped
      const cpu = hasTable ? mm.pageTable.translate(vpn, 0) : -1;
      if (cpu !== pfn) return this.#broken(device, 'mirror-coherent', `${device.name} has frame ${hex(pfn)} at page ${hex(vpn)}, where ${mm.name} has ${cpu < 0 ? 'nothing' : `frame ${hex(cpu)}`}`);
      if (device.translate(vpn, true) >= 0 && mm.pageTable.translate(vpn, 1) !== pfn) return this.#broken(device, 'mirror-coherent', `${device.name} may write page ${hex(vpn)}, and ${mm.name} may not`);
    }
  }

  /** The checks say more of it: both entries, whose fault it is. */
  #broken(device: DeviceMirror, rule: string, what: string): void {
    this.#judge(this.#checker.step(this.#name));
    if (!this.known.some((one) => one.mm === device.mm.id && (one.rule === 'mirror-coherent' || one.rule === 'blocks-owned'))) throw new Violation(rule, what);
    this.#stale.add(device);
  }

  /** Throws the first that is no kernel's own. */
  #judge(findings: readonly Finding[]): void {
    for (const finding of findings) {
      const { knownBy, rule, what, missing } = finding;
      if (knownBy === null) throw new Violation(rule, `${what}; missing: ${missing}`, { ...finding, task: finding.task === 'main' ? (this.#last?.name ?? 'main') : finding.task });
      this.known.push(finding);
    }
  }

  *#answered(name: string, body: Sleepable<unknown>): Sleepable<void> {
    try {
      yield* body;
    } catch (error) {
      if (!HmmError.is(error) || error.code === 'EDEADLK') throw error;
      this.answers[name] = error.code;
    }
  }
}
