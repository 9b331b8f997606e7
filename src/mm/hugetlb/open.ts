/** How huge pages are mapped: files of them, and anonymous areas, each of which has a file of its own. */
import { Beside } from '../../beside.ts';
import { HmmError } from '../../errno.ts';
import type { Platform } from '../../memremap/index.ts';
import type { HugePool } from '../../page/index.ts';
import type { RwLock } from '../../sched/index.ts';
import type { FileCalls } from '../file.ts';
import { VM_DONTEXPAND, VM_HUGETLB, type MappedFile, type Vma, type VmOps } from '../vma.ts';
import { hugetlbFault } from './fault.ts';
import { HugeFile } from './file.ts';

const handlers = new Beside<HugeFile, VmOps>();

function opsOf(file: HugeFile): VmOps {
  let ops = handlers.get(file);
  if (ops === undefined) handlers.set(file, (ops = hugetlbVmOps(file)));
  return ops;
}

function hugetlbVmOps(file: HugeFile): VmOps {
  const { npages } = file.pool;
  return {
    name: 'hugetlb',
    dax: false,
    countsPages: true,
    hugetlb: file,
    quickFault: () => -1,
    *fault() {
      throw new HmmError('EFAULT', 'hugetlb', 'a fault that is not of the whole area');
    },
    faultWhole: (vma, vpn, flags) => hugetlbFault(file, vma, vpn, flags),
    maySplit: (_vma, vpn) => vpn % npages === 0,
    close: (vma) => file.close(vma),
  };
}

/** Anonymous memory of huge pages of that pool. */
export function newHugeAnon(platform: Platform, pool: HugePool, npages: number): MappedFile {
  const bytes = Math.ceil(npages / pool.npages) * pool.npages * 4096;
  return openHugeFile(new HugeFile(platform, 'anon_hugepage (deleted)', pool, bytes), true);
}

export function openHugeFile(file: HugeFile, writable: boolean): MappedFile {
  const { npages: unit } = file.pool;
  return {
    inode: file.inode,
    writable,
    vmOps: opsOf(file),
    vmFlags: VM_HUGETLB | VM_DONTEXPAND,
    alignPages: unit,
    roundPages: unit,
    preferPages: unit,
    syncSupported: false,
    refuses: (_shared, start, npages, pgoff) => (start % unit === 0 && npages % unit === 0 && pgoff % unit === 0 ? null : 'EINVAL'),
    attach(vma) {
      file.reserve(vma, file.indexOf(vma, vma.start), file.indexOf(vma, vma.end));
    },
    released: () => file.evict(),
    calls: calls(file),
  };
}

function calls(file: HugeFile): FileCalls {
  return {
    *read(offset, target) {
      return file.read(offset, target);
    },
    *write() {
      throw new HmmError('EINVAL', 'write', 'hugetlbfs has no write');
    },
    truncate: (size) => file.truncate(size),
    fallocate: (mode, offset, length) => file.fallocate(mode, offset, length),
    *sync() {
      // nothing is kept anywhere else
    },
    stat: () => ({ size: file.size, blocks: file.pages.size * file.pool.npages * 8, dax: false }),
    extents: () => null,
  };
}

/** The page size of an area of huge pages. */
export function hugePageOf(vma: Vma): HugePool {
  return ((vma.ops as VmOps).hugetlb as HugeFile).pool;
}

/** hugetlb_vma_lock_read() takes this one: over the entries of the file that is mapped there. */
export function hugeLockOf(vma: Vma): RwLock {
  return ((vma.ops as VmOps).hugetlb as HugeFile).vmaLock;
}
