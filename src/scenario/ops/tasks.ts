/** What happens beside or outside the process: async, wait, in, sleep, sh, note. */
import { daxWrite } from '../../dax/index.ts';
import { HmmError } from '../../errno.ts';
import type { Sleepable } from '../../sched/index.ts';
import { Skip, type Answer, type OperationList } from '../operation.ts';
import { perform } from '../perform.ts';
import type { Process } from '../process.ts';

const MS_NS = 1e6;

/** The places on persistent memory in the order of the guest's regions. */
const PMEM_PLACES = ['ext4', 'xfs', 'xfsn'];

/** Commands that scenarios give a shell, as operations of the model. */
function* shell(process: Process, command: string): Sleepable<Answer> {
  const dd = /^dd if=\/dev\/zero of=\/mnt\/(\w+)\/(\w+) bs=4k count=(\d+)( 2>\/dev\/null)?$/.exec(command);
  if (dd !== null) return yield* copyZeroes(process, dd[1] as string, dd[2] as string, Number(dd[3]) * 4096);
  const umount = /^umount \/mnt\/(\w+)( 2>\/dev\/null)?$/.exec(command);
  if (umount !== null) return { exit: process.guest.unmount(umount[1] as string) ? 0 : 1 };
  const pmem = /^echo namespace(\d)\.0 ?> ?\/sys\/bus\/nd\/drivers\/nd_pmem\/unbind$/.exec(command);
  if (pmem !== null) {
    yield* process.guest.core.unbindPmem(process.guest.madeAt(PMEM_PLACES[Number(pmem[1])] ?? ''));
    return { exit: 0 };
  }
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

/** In such steps the runner looks whether a thread is done. */
const POLL_MS = 20;

export const TASK_OPERATIONS: OperationList = {
  'async ID OPERATION': function* start(process, args) {
    const { inner } = args;
    if (inner === null) throw new Skip('no operation');
    const task = process.guest.platform.sched.spawn(`${args.word('ID')}: ${inner.text}`, perform(process, inner));
    process.threads.set(args.word('ID'), { task, text: inner.text });
    // Where the new thread gets the CPU at once it waits for a lock that is held before this one has told of its areas.
    const { sched, profile } = process.guest.platform;
    if (profile.newThreadRuns && process.mm.mmapLock.held !== null) yield* sched.sleep(1);
    return { err: 'ok' };
  },
  'wait ID [MS]': function* wait(process, args) {
    const { sched } = process.guest.platform;
    const thread = process.threads.get(args.word('ID'));
    if (thread === undefined) throw new Skip(`no async ${args.word('ID')}`);
    const { task, text } = thread;
    for (let ms = args.number('MS', 1000); ms > 0 && !task.finished; ms -= POLL_MS) yield* sched.sleep(POLL_MS * MS_NS);
    if (!task.finished) return { async: text, done: false };
    process.threads.delete(args.word('ID'));
    return { async: text, done: true, ...(task.result as Answer) };
  },
  // A line of its own: run.ts has the child answer.
  'in ID OPERATION': function* inChild() {
    throw new Skip('a thread cannot ask a child');
  },
  'sleep [MS]': function* sleep(process, args) {
    yield* process.guest.platform.sched.sleep(args.number('MS', 100) * MS_NS);
    return { err: 'ok' };
  },
  'sh TEXT': (process, args) => shell(process, args.word('TEXT')),
  'note [TEXT]': function* note() {
    return {};
  },
};
