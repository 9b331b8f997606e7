/** Fills beside /proc/self/pagemap: node bench/hmm/pagemap.mjs [PART OF A NAME] */
import { pagemapWorkloads } from '../../dist/bench/hmm/pagemap.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(pagemapWorkloads);
