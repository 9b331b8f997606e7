/** Pages that a process's driver holds: pin_user_pages(), until `release()` or the end of a `using` block. */
import { unpinUserPages, type Mm } from '../mm/index.ts';
import type { Pfn } from '../units.ts';
import type { Driver } from './driver.ts';

export interface PinOptions {
  /** the driver will write (default false) */
  readonly write?: boolean;
  /** for longer than an I/O (default false): refused for DAX files */
  readonly longterm?: boolean;
}

export class Pins implements Disposable {
  /** frames, one a page; fewer than asked where a later page could not be had */
  readonly pfns: readonly bigint[];
  readonly #driver: Driver;
  readonly #mm: Mm;
  readonly #held: Pfn[];

  /** @internal made by `AddressSpace.pin` */
  constructor(driver: Driver, mm: Mm, pfns: readonly Pfn[]) {
    this.pfns = pfns.map(BigInt);
    this.#driver = driver;
    this.#mm = mm;
    this.#held = [...pfns];
  }

  /** Gives the pages back; a second time it does nothing. KernelCrash where their device has gone meanwhile, as a kernel would. */
  release(): void {
    this.#driver.check('unpin');
    unpinUserPages(this.#mm, this.#held.splice(0));
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
