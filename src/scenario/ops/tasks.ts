/** What happens beside or outside the process: async, wait, sleep, sh, note. */
import { daxWrite } from '../../dax/index.ts';
import { HmmError } from '../../errno.ts';
import type { Sleepable } from '../../sched/index.ts';
import { Skip, type Answer, type OperationList } from '../operation.ts';
import { perform } from '../perform.ts';
import type { Process } from '../process.ts';

const MS_NS = 1e6;

/** Commands that scenarios give a shell, as operations of the model. */
function* shell(process: Process, command: string): Sleepable<Answer> {
  const dd = /^dd if=\/dev\/zero of=\/mnt\/(\w+)\/(\w+) bs=4k count=(\d+)( 2>\/dev\/null)?$/.exec(command);
  if (dd !== null) return yield* copyZeroes(process, dd[1] as string, dd[2] as string, Number(dd[3]) * 4096);
  const dax = /\/oracle\/dev\/(\w+)\).*>\/sys\/bus\/dax\/drivers\/device_dax\/unbind/.exec(command);
  if (dax !== null) {
    yield* process.guest.core.unbind(process.guest.daxDevice(dax[1] as string));
    return { exit: 0 };
  }
  throw new Skip('no such command here');
}

/** dd of /dev/zero, until the device is full: in bulk while there is room, then by the page. */
function* copyZeroes(process: Process, place: string, name: string, end: number): Sleepable<Answer> {
  const fs = process.guest.fileSystem(place);
  const inode = fs.inodes.get(name) ?? fs.create(name);
  let chunk = new Uint8Array(256 * 4096);
  for (let offset = 0; offset < end; ) {
    try {
      offset += yield* daxWrite(inode, offset, chunk.subarray(0, end - offset));
    } catch (error) {
      if (!HmmError.is(error, 'ENOSPC')) throw error;
      if (chunk.length === 4096) return { exit: 1 };
      chunk = chunk.subarray(0, 4096);
    }
  }
  return { exit: 0 };
}

export const TASK_OPERATIONS: OperationList = {
  'async ID OPERATION': function* start(process, args) {
    const { inner } = args;
    if (inner === null) throw new Skip('no operation');
    const task = process.guest.platform.sched.spawn(`${args.word('ID')}: ${inner.text}`, perform(process, inner));
    process.guest.threads.set(args.word('ID'), { task, text: inner.text });
    return { err: 'ok' };
  },
  'wait ID [MS]': function* wait(process, args) {
    const { sched } = process.guest.platform;
    const thread = process.guest.threads.get(args.word('ID'));
    if (thread === undefined) throw new Skip(`no async ${args.word('ID')}`);
    const { task, text } = thread;
    const deadlineNs = sched.nowNs + args.number('MS', 10_000) * MS_NS;
    const what = `thread ${args.word('ID')}`;
    if (!task.finished) yield { kind: 'wait', what, touches: '*', ready: () => task.finished, holder: () => null, deadlineNs };
    if (!task.finished) return { async: text, done: false };
    if (task.error !== undefined) throw task.error;
    return { async: text, done: true, ...(task.result as Answer) };
  },
  'sleep [MS]': function* sleep(process, args) {
    yield* process.guest.platform.sched.sleep(args.number('MS') * MS_NS);
    return {};
  },
  'sh TEXT': (process, args) => shell(process, args.word('TEXT')),
  'note [TEXT]': function* note() {
    return {};
  },
};
