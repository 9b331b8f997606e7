/** A driver of a user's own, with switches of its own: off nothing is found, on the check names what it did. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { ROOT } from '../support/cli.ts';

function example(...switches: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['examples/own-driver.mjs', ...switches], { cwd: ROOT, encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

test('off: nothing is wrong', () => {
  expect(example()).toEqual({ code: 0, stdout: 'nothing is wrong\n', stderr: '' });
});

test.each([
  ['keeps-stale', /^mirror-coherent: punch .*\n {2}my driver has pfn 0x\w+ at page 0x\w+, where app has nothing/],
  ['write-always', /^mirror-coherent: fill .*\n {2}my driver has pfn 0x\w+, writable at page 0x\w+, where app has pte pfn/],
])('%s is caught', (name, says) => {
  expect(example(name).stdout).toMatch(says);
});

test('an unknown switch is refused', () => {
  expect(example('keeps-stail').stderr).toMatch(/defineBugs: no switch 'keeps-stail' \(known: keeps-stale, write-always\)/);
});
