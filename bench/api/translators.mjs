/** One address to its frame, as embedders ask: node bench/api/translators.mjs [PART OF A NAME] */
import { translatorWorkloads } from '../../dist/bench/api/translators.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(translatorWorkloads);
