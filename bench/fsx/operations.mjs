/** The exerciser: node bench/fsx/operations.mjs [PART OF A NAME] */
import { fsxWorkloads } from '../../dist/bench/fsx/operations.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(fsxWorkloads);
