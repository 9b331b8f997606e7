/**
 * Devices with a page table of their own (device, detach, fill, load, store), virtual machines (vm, vmfill, vmload, vmstore), a Worker that reads
 * the process's table (worker, wread), and what is the kernel's to do to a process or a device: exit, reap, saturate, unbind. No probe of the recorded guests has these: they are for tasks, whose interleavings are explored.
 */
import { DeviceMirror, attachLegacy, attachModern } from '../../dmirror/index.ts';
import { FaultSignal } from '../../errno.ts';
import { Kvm } from '../../kvm/index.ts';
import { exitMm, oomReap, saturate } from '../../mm/index.ts';
import { framePfn } from '../../pgtable/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { SteppedReader } from '../../share/index.ts';
import { pagesOfLevel } from '../../units.ts';
import { byteRuns } from '../bytes.ts';
import { Skip, type Answer, type OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { Process } from '../process.ts';

function deviceOf(process: Process, args: Args): DeviceMirror {
  const device = process.devices.get(args.word('ID'));
  if (device === undefined) throw new Skip(`no device ${args.word('ID')}`);
  return device;
}

function machineOf(process: Process, args: Args): Kvm {
  const machine = process.machines.get(args.word('ID'));
  if (machine === undefined) throw new Skip(`no virtual machine ${args.word('ID')}`);
  return machine;
}

/** KVM_RUN: what the guest cannot have is the call's error, and no signal; poison is one. */
function* entered(run: Sleepable<void>, answer: () => object = () => ({})): Sleepable<Answer> {
  try {
    yield* run;
  } catch (error) {
    if (!(error instanceof FaultSignal) || error.lsb > 0) throw error;
    return { err: 'EFAULT' };
  }
  return { err: 'ok', ...answer() };
}

/** Guest frame, and byte in it. */
function guestPlace(args: Args): [number, number] {
  const off = args.size('OFF');
  return [Math.floor(off / 4096), off % 4096];
}

export const MIRROR_OPERATIONS: OperationList = {
  // legacy: on the API of 2019. mem: with the memory of device D, as todev has it
  'device ID [legacy] [mem=D]': function* mirror(process, args) {
    const memory = args.has('mem') ? process.guest.deviceMemory(args.number('mem')) : null;
    if (memory === undefined) throw new Skip(`no device ${args.number('mem')}`);
    const device = new DeviceMirror(args.word('ID'), process.mm);
    if (memory !== null) device.memory = memory;
    device.port = args.has('legacy') ? attachLegacy(device) : attachModern(device);
    process.devices.set(args.word('ID'), device);
    process.guest.onDevice(process, device);
    return { err: 'ok' };
  },
  'detach ID': function* detach(process, args) {
    yield* deviceOf(process, args).close();
    process.devices.delete(args.word('ID'));
    return { err: 'ok' };
  },
  'fill ID ADDR LEN [r|w]': function* fill(process, args) {
    const [start] = process.split(args.address('ADDR'));
    yield* deviceOf(process, args).fill(start, start + Math.max(1, Math.ceil(args.size('LEN') / 4096)), args.word('r|w') === 'w');
    return { err: 'ok' };
  },
  'load ID ADDR LEN': function* load(process, args) {
    const bytes = new Uint8Array(args.size('LEN'));
    yield* deviceOf(process, args).read(...process.split(args.address('ADDR')), bytes);
    return { err: 'ok', bytes: byteRuns(bytes) };
  },
  'store ID ADDR LEN [BYTE]': function* store(process, args) {
    yield* deviceOf(process, args).write(...process.split(args.address('ADDR')), new Uint8Array(args.size('LEN')).fill(args.number('BYTE', 1)));
    return { err: 'ok' };
  },
  // its memory is the area's: OFF counts from there
  'vm ID ADDR LEN': function* vm(process, args) {
    const [start] = process.split(args.address('ADDR'));
    const machine = new Kvm(args.word('ID'), process.mm);
    machine.slots.add(0, 0, Math.ceil(args.size('LEN') / 4096), start);
    process.machines.set(args.word('ID'), machine);
    return { err: 'ok' };
  },
  'vmfill ID OFF [r|w]': function* vmfill(process, args) {
    return yield* entered(machineOf(process, args).fault(Math.floor(args.size('OFF') / 4096), args.word('r|w') === 'w'));
  },
  'vmload ID OFF LEN': function* vmload(process, args) {
    const bytes = new Uint8Array(args.size('LEN'));
    return yield* entered(machineOf(process, args).read(...guestPlace(args), bytes), () => ({ bytes: byteRuns(bytes) }));
  },
  'vmstore ID OFF LEN [BYTE]': function* vmstore(process, args) {
    return yield* entered(machineOf(process, args).write(...guestPlace(args), new Uint8Array(args.size('LEN')).fill(args.number('BYTE', 1))));
  },
  // a Worker that reads the table: one a scenario
  'worker ID': function* worker(process, args) {
    if (process.guest.platform.arena.build !== 'shared') throw new Skip('no shared memory for Workers here');
    for (const { name } of process.workers.values()) throw new Skip(`one Worker a scenario, and there is ${name}`);
    process.workers.set(args.word('ID'), new SteppedReader(args.word('ID'), process.mm));
    return { err: 'ok' };
  },
  'wread ID ADDR': function* wread(process, args) {
    const worker = process.workers.get(args.word('ID'));
    if (worker === undefined) throw new Skip(`no Worker ${args.word('ID')}`);
    const [vpn] = process.split(args.address('ADDR'));
    return { err: (yield* worker.read(vpn)) >= 0 ? 'ok' : 'ENODATA' };
  },
  exit: function* exit(process) {
    yield* exitMm(process.mm);
    return { err: 'ok' };
  },
  reap: function* reap(process) {
    const { refused } = yield* oomReap(process.mm);
    return refused === 0 ? { err: 'ok' } : { err: 'EAGAIN', refused };
  },
  // so many hold the page of ADDR that nobody else can
  'saturate ADDR': function* full(process, args) {
    const [vpn] = process.split(args.address('ADDR'));
    const pt = process.mm.pageTable;
    if (!pt.look(vpn)) return { err: 'EFAULT' };
    saturate(process.guest.platform, framePfn(pt.lo, pt.hi) + (vpn % pagesOfLevel(pt.level)));
    return { err: 'ok' };
  },
  'unbind WORD': function* unbind(process, args) {
    yield* process.guest.core.unbind(process.guest.daxDevice(args.word('WORD')));
    return { err: 'ok' };
  },
};
