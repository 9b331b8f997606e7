/** SIGBUS for memory that has failed, as it comes to a process that did not touch it. */
import type { Vpn } from '../../units.ts';

export class PoisonSignal {
  readonly vpn: Vpn;
  /** low bits of the address that do not count: the failed page is so large */
  readonly lsb: number;

  constructor(vpn: Vpn, lsb: number) {
    this.vpn = vpn;
    this.lsb = lsb;
  }
}
