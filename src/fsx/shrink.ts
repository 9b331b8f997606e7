/**
 * The fewest operations that still fail: what can be left out is found by trying (Zeller's ddmin), tails first, since what went wrong
 * mostly began not long before it was seen.
 */
import type { Operation } from './operation.ts';

export interface Shrunk {
  readonly operations: readonly Operation[];
  /** runs that it took */
  readonly runs: number;
  /** false: it stopped at its limit of operations, or was stopped */
  readonly whole: boolean;
}

const FIRST_TAIL = 16;

export interface ShrinkLimits {
  /** operations in all runs together */
  readonly carriedOutMax: number;
  /** asked before each run: true: leave it at what was found */
  readonly stop: () => Promise<boolean>;
}

/** `fails` runs operations on a fresh scene. */
export async function shrink(operations: readonly Operation[], fails: (operations: readonly Operation[]) => boolean, { carriedOutMax, stop }: ShrinkLimits): Promise<Shrunk> {
  let runs = 0;
  let left = carriedOutMax;
  const tryOut = async (candidate: readonly Operation[]): Promise<boolean> => {
    if (left < candidate.length) return false;
    if (await stop()) left = 0;
    if (left === 0) return false;
    left -= candidate.length;
    runs++;
    return fails(candidate);
  };
  let now = operations;
  for (let n = FIRST_TAIL; n < operations.length; n *= 2) {
    const tail = operations.slice(-n);
    if (!(await tryOut(tail))) continue;
    now = tail;
    break;
  }
  for (let chunk = Math.ceil(now.length / 2); chunk >= 1 && now.length > 1; ) {
    const before = now.length;
    for (let at = now.length - chunk; at > -chunk && now.length > 1; at -= chunk) {
      const from = Math.max(0, at);
      const without = [...now.slice(0, from), ...now.slice(at + chunk)];
      if (without.length < now.length && (await tryOut(without))) now = without;
    }
    // A pass in single steps that takes something away may let another one take more.
    if (chunk === 1 && now.length === before) break;
    if (chunk > 1) chunk = Math.ceil(chunk / 2);
  }
  for (let i = 0; i < now.length; i++) {
    for (const plain of [{ beside: null }, { closeOpen: false }, { process: 0 }, { cut: null }, { flush: false }] as const) {
      const changed = now.map((operation, j) => (j === i ? { ...operation, ...plain } : operation));
      if (JSON.stringify(changed[i]) !== JSON.stringify(now[i]) && (await tryOut(changed))) now = changed;
    }
  }
  return { operations: now, runs, whole: left > now.length };
}
