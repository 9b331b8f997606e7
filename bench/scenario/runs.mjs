/** Scenarios and task switches: node bench/scenario/runs.mjs [PART OF A NAME] */
import { scenarioWorkloads } from '../../dist/bench/scenario/runs.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(scenarioWorkloads);
