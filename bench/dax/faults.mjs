/** DAX faults: node bench/dax/faults.mjs [PART OF A NAME] */
import { faultWorkloads } from '../../dist/bench/dax/faults.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(faultWorkloads);
