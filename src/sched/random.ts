/** The seeded generator of every random choice in a machine: xoshiro128**, splitmix-seeded. Same seed, same run. */
export class Random {
  readonly #s = new Uint32Array(4);

  constructor(seed: bigint) {
    this.reseed(seed);
  }

  /** Starts the sequence of `seed` from its beginning. */
  reseed(seed: bigint): void {
    let z = BigInt.asUintN(64, seed);
    for (let i = 0; i < 4; i += 2) {
      z = BigInt.asUintN(64, z + 0x9e3779b97f4a7c15n);
      let x = z;
      x = BigInt.asUintN(64, (x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n);
      x = BigInt.asUintN(64, (x ^ (x >> 27n)) * 0x94d049bb133111ebn);
      x ^= x >> 31n;
      this.#s[i] = Number(x & 0xffffffffn);
      this.#s[i + 1] = Number(x >> 32n);
    }
  }

  /** A whole number in [0, 2^32). */
  u32(): number {
    const s = this.#s as unknown as [number, number, number, number];
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** A whole number in [0, bound), bound up to 2^32. */
  below(bound: number): number {
    return Math.floor((this.u32() / 0x100000000) * bound);
  }
}
