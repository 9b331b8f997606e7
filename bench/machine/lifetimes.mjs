/** Machines made and reset: node bench/machine/lifetimes.mjs [PART OF A NAME] */
import { machineWorkloads } from '../../dist/bench/machine/lifetimes.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(machineWorkloads);
