/** CPU faults: node bench/mm/faults.mjs [PART OF A NAME] */
import { cpuFaultWorkloads } from '../../dist/bench/mm/faults.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(cpuFaultWorkloads);
