/** `daxmirror fsx` and Ctrl-C: what was done is said, and how to go on, which does. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parseLog } from '../../dist/fsx/index.js';
import { MAIN, daxmirror, temporaryFolder } from '../support/cli.ts';

const folder = temporaryFolder();

/** Runs until it says that some operations are done, then interrupts it. */
async function interrupted(args: readonly string[]): Promise<{ code: number; out: string }> {
  const child = spawn(process.execPath, [MAIN, 'fsx', '-p', '100', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.once('data', () => child.kill('SIGINT'));
  const code = await new Promise<number>((resolve) => child.on('close', resolve));
  return { code, out };
}

test('Ctrl-C writes what it has so far and how to go on; what goes on ends as one run would have', async () => {
  const log = path.join(folder, 'cut.ops');
  const { code, out } = await interrupted(['-N', '10000000', '-S', '11', '-l', '64k', '--record-ops', log]);
  expect(code).toBe(130);
  expect(out).toMatch(/✓ [\d,]+ operations, .*\n/);
  const done = parseLog(log, readFileSync(log, 'utf8')).operations.length;
  const resume = /interrupted; to go on: daxmirror (fsx .*)\n$/.exec(out)?.[1]?.split(' ') ?? [];
  expect(resume.slice(-4)).toEqual(['-S', '11', '-b', String(done + 1)]);

  // Some more of it, and the same from the beginning.
  const total = String(done + 300);
  const [rest, whole] = [path.join(folder, 'rest.ops'), path.join(folder, 'whole.ops')];
  const again = resume.map((word) => (word === '10000000' ? total : word === log ? rest : word));
  expect(daxmirror(again).code).toBe(0);
  expect(daxmirror(['fsx', '-q', '-N', total, '-S', '11', '-l', '64k', '--record-ops', whole])).toMatchObject({ code: 0 });
  const operations = parseLog(whole, readFileSync(whole, 'utf8')).operations;
  expect(parseLog(rest, readFileSync(rest, 'utf8')).operations).toEqual(operations.slice(done));
}, 60_000);

test('a log that is interrupted goes on in the log', async () => {
  const log = path.join(folder, 'long.ops');
  expect(daxmirror(['fsx', '-q', '-N', '60000', '-l', '16k', '--record-ops', log]).code).toBe(0);
  const { code, out } = await interrupted(['--replay-ops', log]);
  expect(code).toBe(130);
  const resume = /to go on: daxmirror (fsx .*)\n$/.exec(out)?.[1]?.split(' ') ?? [];
  expect(daxmirror([...resume, '-q']).code).toBe(0);
}, 60_000);
