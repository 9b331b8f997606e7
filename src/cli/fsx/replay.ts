/**
 * A log of operations as one word that a shell leaves alone: what a failed run is replayed by.
 *
 *   f1:fs=ext4+…+power=adr/mapwrite+0x22d37+0xd04+0x39670/@cut=13,326052/read+0x1be48+0xf+0x3a670:5f0c1e2d
 *   |  the layout           lines; `+` between words, `@` for `#! `, `%` for `#+ `                 sum of all before
 */
import { crc32 } from 'node:zlib';
import { BadInput } from '../badInput.ts';

const VERSION = 'f1';
const HEAD = '#! daxmirror-fsx 1 ';

/** The log as `logText` makes it, as one word. */
export function replayString(log: string): string {
  const lines = log.slice(HEAD.length).trimEnd().split('\n');
  const text = `${VERSION}:${lines.map((line) => line.replace('#! ', '@').replace('#+ ', '%').replaceAll(' ', '+')).join('/')}`;
  return `${text}:${sumOf(text)}`;
}

/** The log in it. Throws BadInput where it was cut, edited, or is of another version. */
export function logInReplay(replay: string): string {
  const text = replay.trim();
  if (!text.startsWith(`${VERSION}:`)) throw new BadInput(`--replay: '${text.slice(0, 12)}' is not the beginning of such a string; this reads ${VERSION}:`);
  const at = text.lastIndexOf(':');
  const wanted = sumOf(text.slice(0, at));
  if (at < VERSION.length + 1 || !/^[0-9a-f]{8}$/.test(text.slice(at + 1))) throw new BadInput(`--replay: the string is cut at character ${text.length + 1}: a sum of 8 digits is missing`);
  if (text.slice(at + 1) !== wanted) throw new BadInput(`--replay: the string was edited: ${text.slice(at + 1)} is not the sum of what comes before (${wanted})`);
  const lines = text.slice(VERSION.length + 1, at).split('/');
  return `${HEAD}${lines.map((line) => line.replaceAll('+', ' ').replace('@', '#! ').replace('%', '#+ ')).join('\n')}\n`;
}

function sumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
