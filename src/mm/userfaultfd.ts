/**
 * userfaultfd for missing pages: a process answers the faults of anonymous memory itself (fs/userfaultfd.c, mm/userfaultfd.c).
 *
 * A fault of a page that is not there drops mmap_lock and waits until the handler has filled the page. Who may not drop the lock gets
 * SIGBUS instead: so hmm_range_fault() answers EFAULT for such memory, and the 2019 API with block = true EAGAIN with the lock gone.
 * One handler an address space. Only anonymous areas can be registered here.
 */
import { LEVEL_PTE, PTE_SPECIAL } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { HI_NX } from '../pgtable/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import { mapAnonPage } from './fault.ts';
import { vmaFlagsLo } from './insert.ts';
import { changeFlags } from './mmap.ts';
import type { Mm } from './mm.ts';
import { VM_EXEC, VM_UFFD_MISSING, type Vma } from './vma.ts';

/** UFFDIO_REGISTER with MODE_MISSING of `[start, end)`. EINVAL where something is not anonymous, or nothing is mapped: then nothing has changed. */
export function* registerMissing(mm: Mm, start: Vpn, end: Vpn): Sleepable<void> {
  yield* changeRegistration(mm, start, end, true);
}

/** UFFDIO_UNREGISTER. Those that wait in the range fault again, without a handler. EINVAL as above. */
export function* unregisterMissing(mm: Mm, start: Vpn, end: Vpn): Sleepable<void> {
  yield* changeRegistration(mm, start, end, false);
  for (const vpn of mm.userFaults.keys()) if (vpn >= start && vpn < end) mm.userFaults.delete(vpn);
}

function* changeRegistration(mm: Mm, start: Vpn, end: Vpn, on: boolean): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryWrite(sched)) yield* mm.mmapLock.write(sched);
  try {
    const areas = anonymousAreas(mm, start, end);
    for (const vma of areas) {
      const flags = on ? vma.flags | VM_UFFD_MISSING : vma.flags & ~VM_UFFD_MISSING;
      yield* changeFlags(mm, vma, Math.max(start, vma.start), Math.min(end, vma.end), flags, 'userfaultfd');
    }
  } finally {
    mm.mmapLock.writeUnlock(sched);
  }
}

function anonymousAreas(mm: Mm, start: Vpn, end: Vpn): Vma[] {
  const areas: Vma[] = [];
  for (let vma = mm.vmas.find(start); vma !== null && vma.start < end; vma = mm.vmas.next(vma)) {
    if (vma.ops !== null) throw new HmmError('EINVAL', 'userfaultfd', `the area at ${hex(addrOf(vma.start))} is not anonymous`, addrOf(vma.start));
    areas.push(vma);
  }
  if (areas.length === 0) throw new HmmError('EINVAL', 'userfaultfd', `nothing is mapped at ${hex(addrOf(start))}`, addrOf(start));
  return areas;
}

/** UFFDIO_COPY: the page has these 4096 bytes, and who waits for it goes on. EEXIST where a page is, ENOENT where no handler is registered, ENOMEM. */
export function* uffdCopy(mm: Mm, vpn: Vpn, bytes: Uint8Array): Sleepable<void> {
  const { ram, arena } = mm.platform;
  yield* fillMissing(mm, vpn, (vma) => {
    const pfn = ram.alloc();
    if (pfn < 0) return false;
    if (!arena.content.write(pfn * 4096, bytes, 0, 4096) || !mm.pageTable.slot(vpn, LEVEL_PTE)) {
      ram.put(pfn);
      return false;
    }
    mapAnonPage({ vma, vpn, pgoff: vma.pgoffOf(vpn), flags: 0, syncPfn: -1, syncLevel: 0 }, pfn);
    return true;
  });
}

/** UFFDIO_ZEROPAGE: the page of zeroes. Errors as uffdCopy. */
export function* uffdZero(mm: Mm, vpn: Vpn): Sleepable<void> {
  yield* fillMissing(mm, vpn, (vma) => {
    if (!mm.pageTable.slot(vpn, LEVEL_PTE)) return false;
    mm.pageTable.set(mm.platform.ram.zeroPfn, vmaFlagsLo(vma.flags, LEVEL_PTE, false) | PTE_SPECIAL, vma.has(VM_EXEC) ? 0 : HI_NX);
    return true;
  });
}

function* fillMissing(mm: Mm, vpn: Vpn, fill: (vma: Vma) => boolean): Sleepable<void> {
  const { sched } = mm.platform;
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  try {
    const vma = mm.vmas.at(vpn);
    if (vma === null || !vma.has(VM_UFFD_MISSING)) throw new HmmError('ENOENT', 'userfaultfd', `no handler is registered at ${hex(addrOf(vpn))}`, addrOf(vpn));
    mm.pageTable.look(vpn);
    if (!mm.pageTable.none) throw new HmmError('EEXIST', 'userfaultfd', `there is a page at ${hex(addrOf(vpn))}`, addrOf(vpn));
    if (!fill(vma)) throw new HmmError('ENOMEM', 'userfaultfd', 'no memory for the page', addrOf(vpn));
  } finally {
    mm.mmapLock.readUnlock(sched);
  }
  mm.userFaults.delete(vpn);
}
