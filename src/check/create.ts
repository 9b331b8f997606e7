/** A checker for machines of the public facade. */
import { Machine, type AddressSpace, type Guest, type Mirror, type Pmem } from '../api/index.ts';
import { describe } from '../api/checks.ts';
import { checkOptions } from '../errno.ts';
import { Checker, type CheckerOptions } from './checker.ts';

/** A driver of one's own: the process that it mirrors, and what it has for each page now, at the address of its first byte. */
export interface DriverOptions {
  readonly name: string;
  readonly mm: AddressSpace;
  entries(): Iterable<{ readonly addr: bigint; readonly pfn: bigint; readonly write: boolean }>;
}

export interface CheckOptions extends CheckerOptions {
  /** devices whose tables are compared with their process's */
  readonly mirrors?: readonly Mirror[];
  /** virtual machines, the same */
  readonly guests?: readonly Guest[];
  /** drivers of one's own, whatever they keep their entries in */
  readonly drivers?: readonly DriverOptions[];
  /** file systems whose freed blocks nobody may reach */
  readonly pmems?: readonly Pmem[];
}

/**
 * Watches a machine: call `step(name)` after each operation, and `end(name)` when all is over; both return what they found.
 * Whether every mirror was told of what it lost is checked without any mirror being there.
 */
export function createChecker(machine: Machine, options: CheckOptions = {}): Checker {
  checkOptions('createChecker', options, ['mirrors', 'guests', 'drivers', 'pmems', 'without', 'findingsMax']);
  if (!(machine instanceof Machine)) throw new TypeError(`createChecker: machine must be of class Machine, not ${describe(machine)}`);
  const { mirrors = [], guests = [], drivers = [], pmems = [], ...rest } = options;
  const checker = new Checker(machine.core, rest);
  for (const { device } of mirrors) {
    checker.watch({ name: device.name, mm: device.mm, table: device.table, get attached() { return device.attached && !device.closed; }, vpnOf: (page) => page });
  }
  for (const { kvm } of guests) {
    const vpnOf = (gfn: number): number => {
      const slot = kvm.slots.at(gfn);
      return slot === null ? -1 : slot.vpn + (gfn - slot.gfn);
    };
    checker.watch({ name: kvm.name, mm: kvm.mm, table: kvm.table, get attached() { return kvm.alive; }, vpnOf });
  }
  for (const { name, mm, entries } of drivers) {
    checker.watchDriver({ name, mm: mm.mm, entries: () => Array.from(entries(), ({ addr, pfn, write }) => ({ vpn: Number(addr / 4096n), pfn: Number(pfn), write })) });
  }
  for (const pmem of pmems) checker.watchBlocks(pmem.fileSystem);
  return checker;
}
