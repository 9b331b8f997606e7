/** Seeded chance for differential tests: the seed of a failing case is all one needs to see it again. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
    for (let i = 0; i < 4; i++) this.u32();
  }

  /** A number in [0, 2^32): xmur-style scramble of a counter. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  /** True once in `n`. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  /** `bits` random bits. */
  bits(bits: number): bigint {
    return ((BigInt(this.u32()) << 32n) | BigInt(this.u32())) & ((1n << BigInt(bits)) - 1n);
  }
}
