/** Areas: node bench/mm/vmas.mjs [PART OF A NAME] */
import { vmaWorkloads } from '../../dist/bench/mm/vmas.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(vmaWorkloads);
