/** Notifiers: node bench/mm/notifier.mjs [PART OF A NAME] */
import { notifierWorkloads } from '../../dist/bench/mm/notifier.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(notifierWorkloads);
