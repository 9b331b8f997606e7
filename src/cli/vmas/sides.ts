/** The two who answer a sequence of memory calls: the model, and the running kernel through the addon. Both answer in one form. */
import { getSystemErrorName } from 'node:util';
import type { AddressSpace, AreaInfo } from '../../api/addressSpace.ts';
import type { Machine } from '../../api/machine.ts';
import { FaultSignal, HmmError } from '../../errno.ts';
import type { Native } from '../../native/load.ts';
import { AREA_PAGES, AREA_START, encode, type Step } from './steps.ts';

const PAGE = 4096;

/** What stands after a step: '0' or an errno by name, the areas, the first byte of each page. */
export interface State {
  readonly errno: string;
  readonly areas: readonly string[];
  readonly contents: string;
}

/** One state a step, then one for each process that forked, youngest first: how its own memory is in the end. */
export type States = readonly State[];

export function askModel(machine: Machine, steps: readonly Step[]): States {
  const states: State[] = [];
  const processes = [machine.mm()];
  try {
    for (const step of steps) {
      const mm = processes[0] as AddressSpace;
      const errno = errnoOf(() => (step.call === 'fork' ? void processes.unshift(mm.fork()) : perform(mm, step)));
      states.push(stateOf(processes[0] as AddressSpace, errno));
    }
    for (let ended = processes.shift(); ended !== undefined; ended = processes.shift()) {
      ended.exit();
      if (processes[0] !== undefined) states.push(stateOf(processes[0], '0'));
    }
    return states;
  } finally {
    for (const mm of processes) mm.exit();
  }
}

function perform(mm: AddressSpace, { call, page, npages, prot, advice, shared, replace, newPages, to, dontunmap, byte }: Step): void {
  const at = addrOf(page);
  const length = npages * PAGE;
  if (call === 'mmap') mm.mmap(null, { at, length, prot, shared, fixed: replace ? 'fixed' : 'noreplace' });
  else if (call === 'munmap') mm.munmap(at, length);
  else if (call === 'mprotect') mm.mprotect(at, length, prot);
  else if (call === 'mremap') mm.mremap(at, length, newPages * PAGE, to === null ? { mayMove: false } : { to: addrOf(to), dontunmap });
  else if (call === 'madvise') mm.madvise(at, length, advice);
  else mm.store(at, Uint8Array.of(byte));
}

/** A system call that meets a bad address says EFAULT where a load or store of the processor is a signal. */
function errnoOf(run: () => void): string {
  try {
    run();
    return '0';
  } catch (error) {
    if (error instanceof FaultSignal) return 'EFAULT';
    if (HmmError.is(error)) return error.code;
    throw error;
  }
}

function stateOf(mm: AddressSpace, errno: string): State {
  const inside = mm.areas().filter(({ start }) => start >= BigInt(AREA_START) && start < addrOf(AREA_PAGES));
  const areas = inside.map(areaText);
  const contents = Array.from({ length: AREA_PAGES }, (_, page) => {
    let byte = '--';
    errnoOf(() => {
      byte = (mm.load(addrOf(page), 1)[0] as number).toString(16).padStart(2, '0');
    });
    return byte;
  });
  return { errno, areas, contents: contents.join(' ') };
}

function areaText({ start, end, prot, shared }: AreaInfo): string {
  const flags = ['r', 'w', 'x'].map((letter) => (prot.includes(letter) ? letter : '-')).join('');
  return lineOf(Number(start), Number(end), `${flags}${shared ? 's' : 'p'}`);
}

/** Throws EBUSY where this process has memory of its own in the area. */
export function askHost(native: Native, steps: readonly Step[]): States {
  const [before, ...states] = parseStates(native.runMemoryOps(AREA_START, AREA_PAGES, encode(steps)));
  if (before === undefined || before.areas.length > 0) throw new HmmError('EBUSY', 'vmas', 'the area on the running kernel is not free');
  return states;
}

/** The text that src/native/guest.cc describes. A child that ended early has said less. */
export function parseStates(text: string): State[] {
  const states: { errno: string; areas: string[]; contents: string }[] = [];
  for (const line of text.split('\n')) {
    const last = states.at(-1);
    if (line.startsWith('E ')) states.push({ errno: errnoName(Number(line.slice(2))), areas: [], contents: '' });
    else if (line.startsWith('C ') && last !== undefined) last.contents = line.slice(2);
    else if (line !== '' && last !== undefined) last.areas.push(mapsLine(line));
  }
  return states;
}

function mapsLine(line: string): string {
  const [range = '', flags = ''] = line.split(' ');
  const [start = '', end = ''] = range.split('-');
  return lineOf(Number.parseInt(start, 16), Number.parseInt(end, 16), flags);
}

/** In pages from the start of the area: `3-5 rw-p`. */
function lineOf(start: number, end: number, flags: string): string {
  return `${(start - AREA_START) / PAGE}-${(end - AREA_START) / PAGE} ${flags}`;
}

function errnoName(errno: number): string {
  return errno === 0 ? '0' : getSystemErrorName(-errno);
}

function addrOf(page: number): bigint {
  return BigInt(AREA_START + page * PAGE);
}
