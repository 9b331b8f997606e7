/** Devices with memory of their own: todev, tosys, evict, devinfo, devdown, devup, excl. */
import { movePages, useExclusive, type DeviceMemory } from '../../dmirror/index.ts';
import { HmmError } from '../../errno.ts';
import {
  MIGRATE_PFN_MIGRATE, MIGRATE_PFN_VALID, MIGRATE_PFN_WRITE, MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM,
} from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Answer, OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { Process } from '../process.ts';

const MS_NS = 1e6;
/** pages a request may span, and one of a single step */
const PAGES_MAX = 65536;
const STEP_PAGES = 512;

/** What an operation takes for its device and range; where they cannot be, what the probe's ioctl answers. */
export interface DeviceRange {
  readonly memory: DeviceMemory;
  readonly vpn: number;
  readonly npages: number;
}

export function deviceRange(process: Process, args: Args, pagesMax: number): DeviceRange | { readonly ioctl: string } {
  const memory = process.guest.deviceMemory(args.number('N'));
  const start = process.byte(args.address('ADDR'));
  const length = args.size('LEN');
  if (memory === undefined) return { ioctl: 'ENODEV' };
  const npages = length / 4096;
  if (start % 4096 !== 0 || !Number.isInteger(npages) || npages === 0 || npages > pagesMax) return { ioctl: 'EINVAL' };
  return { memory, vpn: start / 4096, npages };
}

function memoryOf(process: Process, args: Args): DeviceMemory {
  const memory = process.guest.deviceMemory(args.number('N'));
  if (memory === undefined) throw new HmmError('ENODEV', 'device', `no device ${args.word('N')}`);
  return memory;
}

function* move(process: Process, args: Args, to: 'device' | 'system'): Sleepable<Answer> {
  const range = deviceRange(process, args, args.has('whole') ? STEP_PAGES : PAGES_MAX);
  if ('ioctl' in range) return { ioctl: range.ioctl };
  const { memory, vpn, npages } = range;
  const wanted = args.has('sel') ? args.word('sel') : to === 'device' ? 'system' : 'private';
  const select =
    (wanted.includes('system') ? MIGRATE_VMA_SELECT_SYSTEM : 0)
    | (wanted.includes('private') ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : 0)
    | (wanted.includes('coherent') ? MIGRATE_VMA_SELECT_DEVICE_COHERENT : 0);
  const { error, cpages, steps, collected, moved } = yield* movePages(memory, process.mm, vpn, npages, {
    to, select, whole: args.has('whole'), nowhere: args.has('nodst'), holdNs: args.number('hold') * MS_NS,
  });
  return { err: error ?? 'ok', cpages, ...(steps > 1 ? { steps } : {}), pages: runsOfPages(collected, moved) };
}

/** Runs of pages alike: P a page, M to migrate, W writable, - nothing; and whether they moved. */
function runsOfPages(collected: Uint8Array, moved: Uint8Array): Answer[] {
  const runs: Answer[] = [];
  for (let i = 0, end = 0; i < collected.length; i = end) {
    const flags = collected[i] as number;
    for (end = i + 1; end < collected.length && collected[end] === flags && moved[end] === moved[i]; end++);
    const src = `${(flags & MIGRATE_PFN_VALID) === 0 ? '' : 'P'}${(flags & MIGRATE_PFN_MIGRATE) === 0 ? '' : 'M'}${(flags & MIGRATE_PFN_WRITE) === 0 ? '' : 'W'}`;
    runs.push({ n: end - i, src: src === '' ? '-' : src, moved: moved[i] === 1 });
  }
  return runs;
}

/** `excl N ADDR LEN [BYTE]`: the device has the pages to itself, writes BYTE over them and lets go. */
function* exclusive(process: Process, args: Args): Sleepable<Answer> {
  const range = deviceRange(process, args, STEP_PAGES);
  if ('ioctl' in range) return { ioctl: range.ioctl };
  const { content } = process.guest.platform.arena;
  const bytes = args.has('BYTE') ? new Uint8Array(4096).fill(args.number('BYTE')) : null;
  const { error, count, granted } = yield* useExclusive(range.memory, process.mm, range.vpn, range.npages, (pfn) => {
    if (bytes !== null) content.write(pfn * 4096, bytes, 0, 4096);
  });
  const runs: [number, boolean][] = [];
  for (const one of granted) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === one) last[0]++;
    else runs.push([1, one]);
  }
  return { err: error ?? 'ok', done: count, granted: runs };
}

export const DEVICE_OPERATIONS: OperationList = {
  'todev N ADDR LEN [sel=WORD] [whole] [nodst] [hold=MS]': (process, args) => move(process, args, 'device'),
  'tosys N ADDR LEN [sel=WORD] [whole] [nodst] [hold=MS]': (process, args) => move(process, args, 'system'),
  'excl N ADDR LEN [BYTE]': exclusive,
  'evict N': function* evict(process, args) {
    return { err: 'ok', moved: yield* memoryOf(process, args).evict() };
  },
  'devinfo N': function* info(process, args) {
    const memory = memoryOf(process, args);
    const { used, faults } = memory;
    memory.faults = 0;
    return { err: 'ok', used, faults };
  },
  'devdown N': function* down(process, args) {
    yield* memoryOf(process, args).down();
    return { err: 'ok' };
  },
  'devup N': function* up(process, args) {
    yield* memoryOf(process, args).up();
    return { err: 'ok' };
  },
};
