/** What of an address space has been invalidated since the last step: page ranges, joined where they touch. */
import type { Vpn } from '../units.ts';

export class Covered {
  #ranges: [Vpn, Vpn][] = [];

  add(start: Vpn, end: Vpn): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && start >= last[0] && start <= last[1]) last[1] = Math.max(last[1], end);
    else this.#ranges.push([start, end]);
  }

  has(vpn: Vpn): boolean {
    return this.#ranges.some(([start, end]) => vpn >= start && vpn < end);
  }

  clear(): void {
    this.#ranges = [];
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }
}
