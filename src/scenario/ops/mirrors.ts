/**
 * Devices with a page table of their own (device, fill, load, store), and what is the kernel's to do to a process or a device: exit, reap,
 * unbind. No probe of the recorded guests has these: they are for tasks, whose interleavings are explored.
 */
import { DeviceMirror, attachLegacy, attachModern } from '../../dmirror/index.ts';
import { exitMm, oomReap } from '../../mm/index.ts';
import { byteRuns } from '../bytes.ts';
import { Skip, type OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { Process } from '../process.ts';

function deviceOf(process: Process, args: Args): DeviceMirror {
  const device = process.devices.get(args.word('ID'));
  if (device === undefined) throw new Skip(`no device ${args.word('ID')}`);
  return device;
}

export const MIRROR_OPERATIONS: OperationList = {
  // legacy: on the API of 2019
  'device ID [legacy]': function* mirror(process, args) {
    const device = new DeviceMirror(args.word('ID'), process.mm);
    device.port = args.has('legacy') ? attachLegacy(device) : attachModern(device);
    process.devices.set(args.word('ID'), device);
    process.guest.onDevice(process, device);
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
  exit: function* exit(process) {
    yield* exitMm(process.mm);
    return { err: 'ok' };
  },
  reap: function* reap(process) {
    const { refused } = yield* oomReap(process.mm);
    return refused === 0 ? { err: 'ok' } : { err: 'EAGAIN', refused };
  },
  'unbind WORD': function* unbind(process, args) {
    yield* process.guest.core.unbind(process.guest.daxDevice(args.word('WORD')));
    return { err: 'ok' };
  },
};
