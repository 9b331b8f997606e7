/** For shells: `node counts.mjs SUMMARY.json` prints `PASSED FAILED` and, on a second line, the skips. */
import { readFileSync } from 'node:fs';
import { skipLine } from './summary.mjs';

const { passed, failed, skips } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
if (!Number.isInteger(passed) || !Number.isInteger(failed)) throw new TypeError('not a summary');
process.stdout.write(`${passed} ${failed}\n${skipLine(skips)}\n`);
