/** Device reads and writes: node bench/dmirror/device.mjs [PART OF A NAME] */
import { deviceWorkloads } from '../../dist/bench/dmirror/device.js';
import { tinybench } from '../tinybench.mjs';

await tinybench(deviceWorkloads);
