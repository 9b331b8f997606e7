/** Schedules: node bench/explore/schedules.mjs [PART OF A NAME] */
import { exploreWorkloads } from '../../dist/bench/explore/schedules.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(exploreWorkloads);
