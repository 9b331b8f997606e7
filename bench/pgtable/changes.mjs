/** Leaves changed in place: node bench/pgtable/changes.mjs [PART OF A NAME] */
import { changeWorkloads } from '../../dist/bench/pgtable/changes.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(changeWorkloads);
