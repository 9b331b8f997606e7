/**
 * What the process that plays a scenario has mapped before its first line: program, heap, stack, [vvar] and [vdso], where a static
 * program has them with address randomisation off. It is a child of the one that read the scenario.
 *
 *   0x400000 program   0x4c8000 [heap]        0x7ffff7ff9000 [vvar]   0x7ffff7ffd000 [vdso]   0x7ffffffde000 [stack]
 */
import type { MachineCore } from '../machine.ts';
import { ShmemFile, VM_EXEC, VM_READ, VM_WRITE, cpuStore, mmap, openShmem, specialMapping, type MappedFile, type Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';

interface Part {
  readonly start: Vpn;
  readonly npages: number;
  readonly prot: number;
  /** page of the program's file; null: anonymous */
  readonly pgoff: number | null;
}

const TEXT: Vpn = 0x400;
const HEAP: Part = { start: 0x4c8, npages: 35, prot: VM_READ | VM_WRITE, pgoff: null };
const STACK: Part = { start: 0x7ffffffde, npages: 33, prot: VM_READ | VM_WRITE, pgoff: null };
const PROGRAM: readonly Part[] = [
  { start: TEXT, npages: 1, prot: VM_READ, pgoff: 0 },
  { start: TEXT + 1, npages: 152, prot: VM_READ | VM_EXEC, pgoff: 1 },
  { start: TEXT + 153, npages: 41, prot: VM_READ, pgoff: 153 },
  { start: TEXT + 194, npages: 6, prot: VM_READ | VM_WRITE, pgoff: 194 },
];
const VVAR: Part = { start: 0x7ffff7ff9, npages: 4, prot: VM_READ, pgoff: 0 };
const VDSO: Part = { start: 0x7ffff7ffd, npages: 2, prot: VM_READ | VM_EXEC, pgoff: 0 };
/** pages of the heap that the parent has used, and of the stack, from its top */
const HEAP_USED = 3;
const STACK_USED = 3;

/** The address space of the process, forked from one that has it all. */
export function* startProcess(core: MachineCore): Sleepable<Mm> {
  const { platform } = core;
  const parent = core.newMm('runner');
  const program = new ShmemFile(platform, { name: 'runner', size: 200 * 4096, huge: false });
  const opened = openShmem(program, true);
  yield* opened.calls?.write(0, new TextEncoder().encode('\x7fELF')) ?? [];
  for (const part of PROGRAM) yield* place(parent, part, opened);
  yield* place(parent, HEAP, null);
  yield* place(parent, STACK, null);
  yield* place(parent, VVAR, specialMapping(platform, '[vvar]', VVAR.npages));
  yield* place(parent, VDSO, specialMapping(platform, '[vdso]', VDSO.npages));
  const first = platform.profile.heapBeginsUsed ? 0 : 1;
  for (let i = first; i < HEAP_USED; i++) yield* store(parent, HEAP.start + i);
  for (let i = 1; i <= STACK_USED; i++) yield* store(parent, STACK.start + STACK.npages - i);
  const child = yield* core.fork(parent, 'scenario');
  // What it uses itself of the heap is the first pages, where that begins in use.
  for (let i = 0; platform.profile.heapBeginsUsed && i < 2; i++) yield* store(child, HEAP.start + i);
  return child;
}

function* store(mm: Mm, vpn: Vpn): Sleepable<void> {
  yield* cpuStore(mm, vpn, 0, Uint8Array.of(1));
}

function* place(mm: Mm, { start, npages, prot, pgoff }: Part, file: MappedFile | null): Sleepable<void> {
  yield* mmap(mm, { npages, prot, shared: false, file, pgoff: pgoff ?? 0, start, fixed: 'fixed', sync: false, vmFlags: 0 });
}

/** Where `[stack]` and the like begin: the first area of that name in /proc/PID/maps; null where there is none. */
export function specialArea(mm: Mm, name: string): Vpn | null {
  if (name === '[stack]') return mm.vmas.at(STACK.start + STACK.npages - 1)?.start ?? null;
  if (name === '[heap]') {
    const vma = mm.vmas.find(HEAP.start);
    return vma !== null && vma.start < HEAP.start + HEAP.npages ? vma.start : null;
  }
  for (const vma of mm.vmas) if (vma.file?.inode.name === name) return vma.start;
  return null;
}
