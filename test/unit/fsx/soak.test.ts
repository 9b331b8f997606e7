/** `npm run soak`: its parts come to what was asked for, and the last line has the totals. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SOAK = fileURLToPath(new URL('../../../scripts/soak.mjs', import.meta.url));

function soak(...args: readonly string[]): { code: number | null; lines: string[]; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SOAK, ...args], { encoding: 'utf8' });
  return { code: status, lines: stdout.trimEnd().split('\n'), err: stderr };
}

it('operations and cuts are shared out, each part by a command that is printed', () => {
  const { code, lines } = soak('--ops', '3', '--cuts', '2', '--seed', '7');
  expect(code).toBe(0);
  expect(lines).toHaveLength(3 + 2 + 2 + 1);
  expect(lines[0]).toMatch(/^✓ {2}1 +1 operations .* daxmirror fsx --fs ext4 .* --check -N 1 -S 7$/);
  expect(lines.at(-1)).toMatch(/^clean: [\d,]+ operations, .* under check, 2 power cuts and \d+ moments in \d+ images, in \d+ s, seeds from 7 on$/);
});

it('goes on from a part with the seed that the part had', () => {
  const { lines } = soak('--ops', '3', '--from', '3');
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^✓ {2}3 .* -S 3$/);
});

it.each([
  [['--ops', 'many'], 'soak: --ops many: not a whole number from 0 on (500, 10k, 10m)\n'],
  [['--ops', '0', '--cuts', '0'], 'soak: --ops 0 --cuts 0: nothing to do\n'],
  [['--ops', '20', '--from', '11'], 'soak: --from 11: there are 10 parts\n'],
])('%j is refused in one line', (args, words) => {
  expect(soak(...args)).toEqual({ code: 2, lines: [''], err: words });
});
