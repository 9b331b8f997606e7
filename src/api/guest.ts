/** Guest: a virtual machine whose memory is a process's, mapped by a second MMU of its own. Guest addresses are bigint bytes. */
import { HmmError, checkOptions } from '../errno.ts';
import { Kvm, type KvmStats, type MemorySlot } from '../kvm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { addrOf } from '../units.ts';
import type { AddressSpace } from './addressSpace.ts';
import { checkAddress, checkBoolean, checkBytes, checkData, checkPage, checkPages } from './checks.ts';
import type { Driver } from './driver.ts';

export interface SlotOptions {
  /** a number of its own */
  readonly slot: number;
  /** where in the guest, a multiple of 4096 */
  readonly guestAddr: bigint;
  /** where in the process, a multiple of 4096 */
  readonly addr: bigint;
  /** bytes */
  readonly length: number;
}

export class Guest implements Disposable {
  readonly name: string;
  readonly #driver: Driver;
  readonly #kvm: Kvm;

  /** @internal made by `createGuest` */
  constructor(driver: Driver, kvm: Kvm) {
    this.name = kvm.name;
    this.#driver = driver;
    this.#kvm = kvm;
  }

  /** What a task can `yield*`. */
  readonly task = {
    read: (guestAddr: bigint, target: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('guest read', 'guestAddr', guestAddr);
      return this.#open('guest read').read(vpn, within, checkData('guest read', 'target', target));
    },
    write: (guestAddr: bigint, bytes: Uint8Array): Sleepable<void> => {
      const { vpn, within } = checkAddress('guest write', 'guestAddr', guestAddr);
      return this.#open('guest write').write(vpn, within, checkData('guest write', 'bytes', bytes));
    },
    fault: (guestAddr: bigint, write: boolean): Sleepable<void> =>
      this.#open('guest fault').fault(checkPage('guest fault', 'guestAddr', guestAddr), checkBoolean('guest fault', 'write', write)),
  };

  /** KVM_SET_USER_MEMORY_REGION: gives the guest memory. Throws EEXIST where the number is used or the place taken, EINVAL. */
  addSlot(options: SlotOptions): void {
    checkOptions('addSlot', options, ['slot', 'guestAddr', 'addr', 'length']);
    const gfn = checkPage('addSlot', 'guestAddr', options.guestAddr);
    const vpn = checkPage('addSlot', 'addr', options.addr);
    this.#open('addSlot').slots.add(checkBytes('addSlot', 'slot', options.slot), gfn, checkPages('addSlot', 'length', vpn, options.length), vpn);
  }

  /** Takes it away again. Throws ENOENT. */
  removeSlot(slot: number): void {
    this.#open('removeSlot').removeSlot(slot);
  }

  /** Loads by the guest. Throws EFAULT where it has no memory, or the process could not access it. */
  read(guestAddr: bigint, length: number): Uint8Array {
    const target = new Uint8Array(checkBytes('guest read', 'length', length));
    this.#driver.run('guest read', this.task.read(guestAddr, target));
    return target;
  }

  /** Stores by the guest. Throws EFAULT, ENOMEM. */
  write(guestAddr: bigint, bytes: Uint8Array): void {
    this.#driver.run('guest write', this.task.write(guestAddr, bytes));
  }

  /** Makes a page of the guest accessible. Throws EFAULT, ENOMEM. */
  fault(guestAddr: bigint, options: { write?: boolean } = {}): void {
    checkOptions('guest fault', options, ['write']);
    this.#driver.run('guest fault', this.task.fault(guestAddr, options.write ?? false));
  }

  /** Physical address that the guest could access now, without a fault; null where it would have to fault. */
  translate(guestAddr: bigint, write = false): bigint | null {
    const { vpn, within } = checkAddress('guest translate', 'guestAddr', guestAddr);
    const pfn = this.#open('guest translate').translate(vpn, write);
    return pfn < 0 ? null : addrOf(pfn) + BigInt(within);
  }

  /** KVM_MEM_LOG_DIRTY_PAGES, on or off. Throws ENOENT. */
  logDirty(slot: number, on: boolean): void {
    const kvm = this.#open('logDirty');
    if (checkBoolean('logDirty', 'on', on)) kvm.startDirtyLog(slot);
    else kvm.stopDirtyLog(slot);
  }

  /** KVM_GET_DIRTY_LOG: guest addresses of the pages written since last time. Throws ENOENT where the slot keeps no log. */
  dirtyLog(slot: number): readonly bigint[] {
    const kvm = this.#open('dirtyLog');
    const { gfn }: MemorySlot = kvm.slots.get(slot);
    return kvm.dirtyLog(slot).map((page) => addrOf(gfn + page));
  }

  get stats(): Readonly<KvmStats> {
    return { ...this.#kvm.stats };
  }

  /** @internal */
  get kvm(): Kvm {
    return this.#kvm;
  }

  /** The machine goes; a second time it does nothing. */
  close(): void {
    if (this.#driver.live && this.#kvm.alive) this.#driver.run('close', this.#kvm.close());
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(op: string): Kvm {
    this.#driver.check(op);
    if (!this.#kvm.alive) throw new HmmError('EBADF', op, `guest ${this.name} is closed, or its process has exited`);
    return this.#kvm;
  }
}

/** A virtual machine run by a process: what the process's page table loses, the guest loses before. */
export function createGuest(space: AddressSpace, options: { name?: string } = {}): Guest {
  checkOptions('createGuest', options, ['name']);
  return new Guest(space.driver, new Kvm(options.name ?? 'guest', space.mm));
}
