/**
 * Prints a memory trace: a hash table of 256 MiB, 20,000 look-ups of random keys and after each a walk along a short list.
 *
 *     node examples/hashtable.mjs | npx daxmirror trace -
 */
const TABLE = 0x7f0000000000;
const LIST = 0x7f4000000000;
const TABLE_BYTES = 256 * 1024 * 1024;

let state = 42;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const lines = ['# address r|w'];
for (let i = 0; i < 20_000; i++) {
  const slot = TABLE + random(TABLE_BYTES / 64) * 64;
  lines.push(`${slot.toString(16)} r`);
  if (random(4) === 0) lines.push(`${slot.toString(16)} w`);
  for (let step = 0; step < 3; step++) lines.push(`${(LIST + ((i * 3 + step) % 4096) * 64).toString(16)} r`);
}
process.stdout.write(`${lines.join('\n')}\n`);
