/** Page tables filled: node bench/pgtable/populate.mjs [PART OF A NAME] */
import { firstTouchWorkloads, populateWorkloads } from '../../dist/bench/pgtable/populate.js';
import { tinybench } from '../tinybench.mjs';

await tinybench([...firstTouchWorkloads, ...populateWorkloads]);
