/** One address to its frame: node bench/pgtable/translate.mjs [PART OF A NAME] */
import { translateWorkloads } from '../../dist/bench/pgtable/translate.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(translateWorkloads);
