/** Writes into holes: node bench/fs/writes.mjs [PART OF A NAME] */
import { writeWorkloads } from '../../dist/bench/fs/writes.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(writeWorkloads);
