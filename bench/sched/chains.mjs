/** Empty paths: node bench/sched/chains.mjs [PART OF A NAME] */
import { chainWorkloads } from '../../dist/bench/sched/chains.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(chainWorkloads);
