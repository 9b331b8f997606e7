/**
 * What the processor does for a load or a store: translate, fault, try again, or a signal (arch/x86/mm/fault.c).
 *
 * Bytes before the place of a failure have been read or written, as by a real copy loop.
 */
import { ACCESS_MARK, ACCESS_READ, ACCESS_WRITE } from '../abi.ts';
import { FaultSignal, HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf, type Pfn, type Vpn } from '../units.ts';
import { handleMmFault } from './fault.ts';
import { livelock, type Mm } from './mm.ts';
import {
  FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_USER, FAULT_FLAG_WRITE, VM_EXEC, VM_FAULT_HWPOISON, VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV, VM_HUGETLB, VM_READ, VM_WRITE, type Vma,
} from './vma.ts';

/** So many faults in a row that leave an access as impossible as before are a livelock. */
const MAX_ROUNDS = 64;

/** The frame behind `vpn` for an access of this kind, to byte `within` of the page. Throws FaultSignal, ENOMEM. Sets A, and D for a write. */
export function* accessPage(mm: Mm, vpn: Vpn, write: boolean, op: string, within = 0): Sleepable<Pfn> {
  const access = ACCESS_MARK | (write ? ACCESS_WRITE : ACCESS_READ);
  const { sched } = mm.platform;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!mm.alive) throw new HmmError('EFAULT', op, `process ${mm.name} has exited`, addrOf(vpn));
    if (sched.concurrent) yield sched.point(`${op} ${mm.name}`, `${mm.touches},bytes`, round > 1);
    const pfn = vpn < mm.pageTable.endVpn ? mm.pageTable.translate(vpn, access) : -1;
    if (pfn >= 0) return pfn;
    yield* userFault(mm, vpn, write, op, within);
  }
  throw livelock(mm, op, vpn, MAX_ROUNDS);
}

function* userFault(mm: Mm, vpn: Vpn, write: boolean, op: string, within: number): Sleepable<void> {
  const { sched } = mm.platform;
  const signal = (name: 'SIGSEGV' | 'SIGBUS', reason: FaultSignal['reason'], lsb?: number): FaultSignal => new FaultSignal(name, reason, op, addrOf(vpn) + BigInt(within), lsb);
  if (!mm.mmapLock.tryRead(sched)) yield* mm.mmapLock.read(sched);
  let locked = true;
  try {
    const vma = mm.vmas.at(vpn);
    if (vma === null) throw signal('SIGSEGV', 'MAPERR');
    if (write ? !vma.has(VM_WRITE) : !vma.has(VM_READ | VM_WRITE | VM_EXEC)) throw signal('SIGSEGV', 'ACCERR');
    const result = yield* handleMmFault(vma, vpn, FAULT_FLAG_USER | FAULT_FLAG_ALLOW_RETRY | (write ? FAULT_FLAG_WRITE : 0));
    if ((result & VM_FAULT_RETRY) !== 0) locked = false;
    if ((result & VM_FAULT_OOM) !== 0) throw new HmmError('ENOMEM', op, 'no memory for the page', addrOf(vpn));
    if ((result & VM_FAULT_HWPOISON) !== 0) throw signal('SIGBUS', 'MCEERR_AR', poisonLsb(vma));
    if ((result & VM_FAULT_SIGBUS) !== 0) throw signal('SIGBUS', 'ADRERR');
    if ((result & VM_FAULT_SIGSEGV) !== 0) throw signal('SIGSEGV', 'ACCERR');
  } finally {
    if (locked) mm.mmapLock.readUnlock(sched);
  }
}

/** How many low bits of an address in poisoned memory do not count: a huge page of hugetlb fails as a whole. */
function poisonLsb(vma: Vma): number {
  return 12 + (vma.has(VM_HUGETLB) ? Math.log2(vma.file?.alignPages ?? 1) : 0);
}

/** Loads `target.length` bytes from byte `within` of page `vpn` on. */
export function* cpuLoad(mm: Mm, vpn: Vpn, within: number, target: Uint8Array): Sleepable<void> {
  const { content } = mm.platform.arena;
  for (let done = 0; done < target.length; ) {
    const at = within + done;
    const page = vpn + Math.floor(at / 4096);
    const n = Math.min(target.length - done, 4096 - (at % 4096));
    const pfn = yield* accessPage(mm, page, false, 'load', at % 4096);
    content.read(pfn * 4096 + (at % 4096), target, done, n);
    done += n;
  }
}

/** Stores `source` from byte `within` of page `vpn` on. */
export function* cpuStore(mm: Mm, vpn: Vpn, within: number, source: Uint8Array): Sleepable<void> {
  const { content } = mm.platform.arena;
  for (let done = 0; done < source.length; ) {
    const at = within + done;
    const page = vpn + Math.floor(at / 4096);
    const n = Math.min(source.length - done, 4096 - (at % 4096));
    const pfn = yield* accessPage(mm, page, true, 'store', at % 4096);
    if (!content.write(pfn * 4096 + (at % 4096), source, done, n)) throw new HmmError('ENOMEM', 'store', 'no room in the arena for the bytes', addrOf(page));
    done += n;
  }
}
