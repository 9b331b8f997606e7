/** A cost model for spaces and devices of the public facade, told of every invalidation that the machine carries out. */
import { describe } from '../api/checks.ts';
import { AddressSpace, Mirror } from '../api/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { PAGE_SIZES, vpnOf, type PageSize } from '../units.ts';
import type { AccessKind, Cpu } from './cpu.ts';
import { CPU_NAMES, DEFAULT_CPU, cpuNamed } from './cpus/index.ts';
import { TranslationModel, type AccessCost } from './model.ts';

export interface CostOptions {
  /** a CPU by name (see `CPU_NAMES`; default zen4), or a description of one */
  readonly cpu?: string | Cpu;
  /** the process runs in a guest: page size of the host's tables */
  readonly nested?: PageSize;
  /** pages up to which a range is flushed page by page (default 33, as Linux) */
  readonly flushCeilingPages?: number;
}

/** What a model of a space or a device is, for users: addresses are bigint bytes. */
export class CostModel extends TranslationModel implements Disposable {
  #stop: () => boolean = () => true;

  /** One access by the processor (or device), as `translate(addr, { costs })` counts it. */
  charge(addr: bigint, kind: AccessKind = 'load'): AccessCost {
    if (typeof addr !== 'bigint' || addr < 0n || vpnOf(addr) >= this.table.endVpn) throw new RangeError(`charge: addr ${String(addr)} is no address of a process`);
    return this.access(vpnOf(addr), kind);
  }

  /** @internal `stop` ends the listening, and says whether the machine is still the same */
  follow(stop: () => boolean): void {
    this.#stop = stop;
  }

  /** Stops listening and gives the memory back. */
  [Symbol.dispose](): void {
    this.free(!this.#stop());
  }
}

/**
 * A model of the TLBs and paging-structure caches in front of a process's page table, or of a device's. What the kernel invalidates is
 * flushed here too: for a process by the ranges of its notifier calls, for a device by what leaves its table. Throws RangeError for a CPU
 * that nobody knows, TypeError for unknown options, ENOMEM.
 */
export function createCosts(target: AddressSpace | Mirror, options: CostOptions = {}): CostModel {
  if (!(target instanceof Mirror || target instanceof AddressSpace)) throw new TypeError(`createCosts: target must be an AddressSpace or a Mirror, not ${describe(target)}`);
  checkOptions('createCosts', options, ['cpu', 'nested', 'flushCeilingPages']);
  const { cpu = DEFAULT_CPU, nested, flushCeilingPages } = options;
  const known = typeof cpu === 'string' ? cpuNamed(cpu) : cpu;
  if (known === undefined) throw new RangeError(`createCosts: cpu '${String(cpu)}' is not one of ${CPU_NAMES.join(', ')}`);
  if (nested !== undefined && !Object.hasOwn(PAGE_SIZES, nested)) throw new RangeError(`createCosts: nested ${String(nested)} is not 4K, 2M or 1G`);
  const isMirror = target instanceof Mirror;
  const { driver } = target;
  const { mm } = isMirror ? target.device : target;
  const table = isMirror ? target.device.table : mm.pageTable;
  const check = (op: string): void => {
    driver.check(op);
    if (!mm.alive) throw new HmmError('EFAULT', op, `process ${mm.name} has exited`);
    if (isMirror && target.device.closed) throw new HmmError('EBADF', op, `mirror ${target.name} is closed`);
  };
  check('createCosts');
  const model = new CostModel(table, { cpu: known, marks: !isMirror, check, ...(nested === undefined ? {} : { nested }), ...(flushCeilingPages === undefined ? {} : { flushCeilingPages }) });
  const stop = mm.platform.bus.observe((event) => {
    if (event.type !== 'device-unmap' && event.type !== 'invalidate-end') return;
    if (!driver.live) model[Symbol.dispose](); // the machine was reset: its observers stay
    else if (event.mm === mm.id && (event.type === 'device-unmap' ? isMirror && event.device === target.name : !isMirror)) model.invalidate(event.start, event.end);
  });
  model.follow(() => {
    stop();
    return driver.live;
  });
  return model;
}
