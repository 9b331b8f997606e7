/** A log of operations as one short word: what a failed run is replayed by. */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { BadInput } from '../badInput.ts';

const VERSION = 'f1';
const TEXT_BYTES_MAX = 2 ** 24;

/** `f1:LOG:SUM`: the log deflated, and a sum over it. */
export function replayString(log: string): string {
  const packed = deflateRawSync(log, { level: 9 }).toString('base64url');
  return `${VERSION}:${packed}:${sumOf(packed)}`;
}

/** The log in it. Throws BadInput where it was cut, edited, or is of another version. */
export function logInReplay(replay: string): string {
  const [version = '', packed = '', sum = '', ...more] = replay.trim().split(':');
  if (version !== VERSION) throw new BadInput(`--replay: a string of version ${JSON.stringify(version.slice(0, 8))}; this reads ${VERSION}:`);
  if (sum === '') throw new BadInput(`--replay: the string is cut at character ${replay.trim().length}: it has no sum at its end`);
  if (more.length > 0 || sum !== sumOf(packed)) throw new BadInput('--replay: the string was edited or cut: its sum does not agree');
  try {
    return inflateRawSync(Buffer.from(packed, 'base64url'), { maxOutputLength: TEXT_BYTES_MAX }).toString('utf8');
  } catch {
    throw new BadInput('--replay: there is no log in the string');
  }
}

function sumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
