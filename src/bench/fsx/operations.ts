/** The exerciser: random operations up to 4 KiB on a file of 256 KiB by one process, with and without the rules of check/. */
import { InvariantError } from '../../errno.ts';
import { runFsx } from '../../fsx/index.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const OPERATIONS = 20_000;

export const fsxWorkloads: readonly Workload[] = [false, true].map((check) => ({
  name: `fsx, checks ${check ? 'on' : 'off'}`, table: 'fsx', pageSize: null, quick: false, setup: async () => fsxWork(check),
}));

/** The first hundred thousand operations are slower: V8 has yet to compile what they use. */
function fsxWork(check: boolean): Work {
  return {
    unit: 'operation', unitsPerRun: OPERATIONS, contenders: [exercising('walker', check), { ...exercising('null', check), isNull: true }], against: ['walker'], warmupMs: 3000, rounds: 9,
  };
}

function exercising(name: string, check: boolean): Contender {
  return {
    name,
    run: async (times) => {
      for (let t = 0; t < times; t++) {
        const { failure } = await runFsx({ operations: OPERATIONS, check });
        if (failure !== null) throw new InvariantError(`fsx fails: ${failure.what}`);
      }
    },
  };
}
