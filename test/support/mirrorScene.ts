/**
 * One page of a DAX file, mapped, and a device that mirrors it: what is explored. Made anew on one machine for each schedule.
 */
import { createHash } from 'node:crypto';
import { daxPunch, daxTruncate, openDaxFile } from '../../dist/dax/index.js';
import { DeviceMirror, attachModern } from '../../dist/dmirror/index.js';
import { HmmError } from '../../dist/errno.js';
import type { MachineCore } from '../../dist/machine.js';
import type { Inode } from '../../dist/fs/index.js';
import { cpuLoad, mmap, type Mm } from '../../dist/mm/index.js';
import type { Policy, Sleepable } from '../../dist/sched/index.js';

export type FileChange = 'truncate' | 'punch';
export type DeviceAct = 'fault' | 'write';

/** What one schedule came to. */
export interface Outcome {
  /** EFAULT and the like, or ok */
  readonly device: string;
  readonly size: number;
  readonly blocks: number;
  /** the page as the CPU reads it in the end: its first byte, or why it cannot */
  readonly byte: string;
  /** a digest of each task's own events, in order, and of what it counted: what equivalent schedules have in common */
  readonly seen: string;
}

export class MirrorScene {
  readonly #core: MachineCore;
  readonly inode: Inode;
  readonly mm: Mm;
  readonly device: DeviceMirror;
  readonly start: number;
  #deviceAnswer = 'ok';

  constructor(core: MachineCore) {
    core.reset();
    this.#core = core;
    const fs = core.newFileSystem('pmem', 64, 'ext4');
    this.inode = fs.create('f', 1);
    fs.allocateWritten(this.inode, 0, 1);
    fs.setSize(this.inode, 4096);
    this.mm = core.newMm('p');
    this.start = this.#run(
      mmap(this.mm, { npages: 1, prot: 3, shared: true, file: openDaxFile(this.inode, true), pgoff: 0, start: null, fixed: 'hint', sync: false, vmFlags: 0 }),
    );
    this.device = new DeviceMirror('gpu', this.mm);
    this.device.port = attachModern(this.device);
  }

  /** Runs both tasks under `policy`, with a look at every step, and to the end. */
  play(change: FileChange, act: DeviceAct, policy: Policy): Outcome {
    const { sched, bus, counts } = this.#core.platform;
    const events: Record<string, string[]> = {};
    const unobserve = bus.observe((event) => (events[sched.current.name] ??= []).push(JSON.stringify(event, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))));
    // Before its first step a punch looks for dirty pages of the file, and the device does nothing that others could see.
    sched.spawn(change, change === 'punch' ? daxPunch(this.inode, 0, 4096) : daxTruncate(this.inode, 0), this.inode.touches);
    sched.spawn('device', this.#act(act), '');
    try {
      sched.run({
        choose: (ready, current) => {
          this.check();
          return policy.choose(ready, current);
        },
      });
      this.check();
    } finally {
      unobserve();
    }
    const seen = createHash('sha256').update(JSON.stringify([events[change], events['device'], this.device.stats, counts])).digest('base64');
    return { device: this.#deviceAnswer, size: this.inode.size, blocks: this.inode.extents.pages, byte: this.#byte(), seen };
  }

  /** At no moment does the device reach a freed block; outside an invalidation it has what the CPU has, and no more rights. */
  check(): void {
    const { device, mm, start, inode } = this;
    const pfn = device.translate(start, false);
    if (pfn < 0) return;
    const { allocator, pgmap } = inode.fs;
    if (pgmap.covers(pfn) && allocator.isFree(pfn)) throw new Error('the device reaches a freed block');
    if (mm.notifiers.active > 0) return;
    if (mm.pageTable.translate(start, 0) !== pfn) throw new Error('the device has a page that the CPU has not');
    if (device.translate(start, true) >= 0 && mm.pageTable.translate(start, 1) !== pfn) throw new Error('the device may write where the CPU may not');
  }

  *#act(act: DeviceAct): Sleepable<void> {
    try {
      if (act === 'write') yield* this.device.write(this.start, 0, Uint8Array.of(7));
      else yield* this.device.fill(this.start, this.start + 1, false);
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      this.#deviceAnswer = error.code;
    }
  }

  #byte(): string {
    const byte = new Uint8Array(1);
    try {
      this.#run(cpuLoad(this.mm, this.start, 0, byte));
      return String(byte[0]);
    } catch (error) {
      if (!HmmError.is(error)) throw error;
      return error.message.split(' ')[1] as string;
    }
  }

  #run<T>(body: Sleepable<T>): T {
    return this.#core.platform.sched.runToEnd('scene', body);
  }
}
