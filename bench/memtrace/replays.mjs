/** Memory traces replayed: node bench/memtrace/replays.mjs [PART OF A NAME] */
import { replayWorkloads } from '../../dist/bench/memtrace/replays.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(replayWorkloads);
