/** Range walks: node bench/hmm/walks.mjs [PART OF A NAME] */
import { walkWorkloads } from '../../dist/bench/hmm/walks.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(walkWorkloads);
