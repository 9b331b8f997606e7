/** The two who answer a sequence of memory calls: the model, and the running kernel through the addon. Both answer in one form. */
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { FaultSignal, HmmError } from '../../errno.ts';
import type { MachineCore } from '../../machine.ts';
import {
  ShmemFile, VM_EXEC, VM_LOCKED, VM_NORESERVE, VM_READ, VM_WRITE, cpuLoad, cpuStore, exitMm, madvise, mlock, mmPopulate, mmap, mprotect, mremap, msync, munlock, munmap, openShmem, protString, type FileCalls, type MappedFile, type Mm,
} from '../../mm/index.ts';
import type { Native } from '../../native/load.ts';
import type { Sleepable } from '../../sched/index.ts';
import { vpnOf } from '../../units.ts';
import { AREA_PAGES, AREA_START, FILE_PAGES, encode, type Step } from './steps.ts';

const PAGE = 4096;
const FIRST = vpnOf(BigInt(AREA_START));

/** What stands after a step: '0' or an errno by name, the areas, the first byte of each page. */
export interface State {
  readonly errno: string;
  readonly areas: readonly string[];
  readonly contents: string;
}

/** One state a step, then one for each process that forked, youngest first: how its own memory is in the end. */
export type States = readonly State[];

/** The machine is reset first. */
export function askModel(core: MachineCore, steps: readonly Step[]): States {
  core.reset();
  const memfd = new ShmemFile(core.platform, { name: 'memfd:vmas (deleted)', size: FILE_PAGES * PAGE, huge: false });
  memfd.holders = 1;
  const file = openShmem(memfd, true);
  const states: State[] = [];
  const processes = [core.newMm('p')];
  for (const step of steps) {
    const errno = errnoOf(core, step.call === 'fork' ? forked(core, processes) : perform(processes[0] as Mm, file, step));
    states.push(stateOf(core, processes[0] as Mm, errno));
  }
  for (let ended = processes.shift(); ended !== undefined; ended = processes.shift()) {
    core.platform.sched.runToEnd('exit', exitMm(ended));
    if (processes[0] !== undefined) states.push(stateOf(core, processes[0], '0'));
  }
  return states;
}

function* forked(core: MachineCore, processes: Mm[]): Sleepable<void> {
  processes.unshift(yield* core.fork(processes[0] as Mm, 'child'));
}

function* perform(mm: Mm, file: MappedFile, step: Step): Sleepable<unknown> {
  const { call, page, npages, newPages, to, byte } = step;
  const start = FIRST + page;
  const calls = file.calls as FileCalls;
  switch (call) {
    case 'mmap':
      return yield* map(mm, file, step);
    case 'munmap':
      return yield* munmap(mm, start, npages);
    case 'mprotect':
      return yield* mprotect(mm, start, npages, protBits(step.prot));
    case 'mremap':
      return yield* mremap(mm, { start, oldPages: npages, newPages, mayMove: to !== null, to: to === null ? null : FIRST + to, dontunmap: to !== null && step.dontunmap });
    case 'madvise':
      return yield* madvise(mm, start, npages, step.advice);
    case 'mlock':
      return yield* mlock(mm, start, npages);
    case 'munlock':
      return yield* munlock(mm, start, npages);
    case 'msync':
      return yield* msync(mm, start, npages, step.sync);
    case 'truncate':
      return yield* calls.truncate(npages * PAGE);
    case 'punch':
      return yield* calls.fallocate('punch', page * PAGE, npages * PAGE);
    case 'write':
      return yield* calls.write(page * PAGE, Uint8Array.of(byte));
    default:
      return yield* cpuStore(mm, start, 0, Uint8Array.of(byte));
  }
}

function* map(mm: Mm, file: MappedFile, { page, npages, prot, shared, replace, filePage, extra }: Step): Sleepable<void> {
  const start = FIRST + page;
  const vmFlags = (extra === 'locked' ? VM_LOCKED : 0) | (extra === 'noreserve' ? VM_NORESERVE : 0);
  yield* mmap(mm, { npages, prot: protBits(prot), shared, file: filePage === null ? null : file, pgoff: filePage ?? 0, start, fixed: replace ? 'fixed' : 'noreplace', sync: false, vmFlags });
  if (extra === 'locked' || extra === 'populate') yield* mmPopulate(mm, start, start + npages, true);
}

function protBits(prot: string): number {
  return (prot.includes('r') ? VM_READ : 0) | (prot.includes('w') ? VM_WRITE : 0) | (prot.includes('x') ? VM_EXEC : 0);
}

/** A system call that meets a bad address says EFAULT where a load or store of the processor is a signal. */
function errnoOf(core: MachineCore, body: Sleepable<unknown>): string {
  try {
    core.platform.sched.runToEnd('vmas', body);
    return '0';
  } catch (error) {
    if (error instanceof FaultSignal) return 'EFAULT';
    if (HmmError.is(error)) return error.code;
    throw error;
  }
}

function stateOf(core: MachineCore, mm: Mm, errno: string): State {
  const areas = mm.vmas.collect(FIRST, FIRST + AREA_PAGES).map((vma) => {
    const flags = `${['r', 'w', 'x'].map((letter) => (protString(vma.flags).includes(letter) ? letter : '-')).join('')}${vma.isShared ? 's' : 'p'}`;
    return areaText(vma.start - FIRST, vma.end - FIRST, flags, vma.file?.inode.name ?? '', vma.pgoff);
  });
  const byte = new Uint8Array(1);
  const contents = Array.from({ length: AREA_PAGES }, (_, page) => (errnoOf(core, cpuLoad(mm, FIRST + page, 0, byte)) === '0' ? (byte[0] as number).toString(16).padStart(2, '0') : '--'));
  return { errno, areas, contents: contents.join(' ') };
}

/** In pages from the start of the area: `3-5 rw-p`; of a file also its name and where in it: `3-5 rw-s memfd:vmas+2`. */
function areaText(start: number, end: number, flags: string, file: string, pgoff: number): string {
  return `${start}-${end} ${flags}${file === '' ? '' : ` ${file.replace(' (deleted)', '')}+${pgoff}`}`;
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
  const [range = '', flags = '', offset = '', , , ...path] = line.split(/ +/);
  const [start, end] = range.split('-').map((hex) => (Number.parseInt(hex, 16) - AREA_START) / PAGE);
  return areaText(start as number, end as number, flags, path.join(' ').replace(/^.*\//, ''), Number.parseInt(offset, 16) / PAGE);
}

function errnoName(errno: number): string {
  return errno === 0 ? '0' : getSystemErrorName(-errno);
}

/** How many pages this process may lock: RLIMIT_MEMLOCK, or no limit where it may lock what it likes (CAP_IPC_LOCK). */
export function lockedPagesMax(): number {
  const IPC_LOCK = 14n;
  const capabilities = /^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
  if (capabilities !== null && ((BigInt(`0x${capabilities[1]}`) >> IPC_LOCK) & 1n) === 1n) return Infinity;
  const limit = /^Max locked memory\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return limit === null ? Infinity : Math.floor(Number(limit[1]) / PAGE);
}
