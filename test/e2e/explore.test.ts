/** `daxmirror explore`: what it prints, its exit codes, bad input, and Ctrl-C. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, daxmirror } from '../support/cli.ts';

const REPLAY = 'x1:truncate-fault:stale-pfn:2x10.1:d6a9f0e3';

test('a bug is found, and its string plays it again: exit code 1', () => {
  const found = daxmirror(['explore', 'truncate-fault', '--bug', 'stale-pfn']);
  expect(found).toMatchObject({ code: 1, stderr: '' });
  expect(found.stdout).toContain(`again: daxmirror explore --replay ${REPLAY}\n`);
  expect(found.stdout).toMatch(/up to 0 preemptions: 2 schedules, .*; bounded: all of these\n/);
  const again = daxmirror(['explore', '--replay', REPLAY]);
  expect(again).toMatchObject({ code: 1, stderr: '' });
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  expect(readme.split(`<!-- output of daxmirror explore --replay ${REPLAY} -->\n`)[1]?.startsWith(`\`\`\`\n${again.stdout}\`\`\`\n`)).toBe(true);
});

test('nothing found is exit code 0, and what was run is said', () => {
  const clean = daxmirror(['explore', 'fork-write', '--json']);
  expect(clean.code).toBe(0);
  const { reports, resume } = JSON.parse(clean.stdout) as { reports: { phases: { phase: string; complete: boolean; schedules: number }[]; finding: null }[]; resume: null };
  expect([reports[0]?.finding, resume]).toEqual([null, null]);
  expect(reports[0]?.phases.map(({ phase, complete }) => [phase, complete])).toEqual([['p0', true], ['p1', true], ['p2', true], ['p3', true], ['all', true]]);
});

test.each([
  [['explore', 'fork-wirte'], /unknown model 'fork-wirte' \(did you mean fork-write\?\)/],
  [['explore', '--replay', REPLAY.slice(0, -1)], /--replay: column 43: it is cut/],
  [['explore', '--replay', REPLAY.replace('2x10', '2x9')], /--replay: column 35: the checksum d6a9f0e3 is not that of what comes before/],
  [['explore', '--replay', REPLAY.replace('x1', 'x9')], /--replay: column 1: 'x9' is no version/],
  [['explore', '--preemptions', 'three'], /--preemptions/],
  [['explore', '--seed', '3'], /--seed is for --random and --pct/],
  [['explore', '--bug', 'stale-pnf'], /stale-pfn/],
])('%j is refused with one line and 2', (args, line) => {
  const refused = daxmirror(args);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toMatch(line);
  expect(refused.stderr).toMatch(/^[^\n]+\n$/);
});

test('Ctrl-C shows how to go on, and what then comes is the rest, to the schedule', async () => {
  const child = spawn(process.execPath, [path.join(ROOT, 'dist/cli/main.js'), 'explore', 'punch-write', 'munmap-read', '--all', '--preemptions', '1'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  child.stdout.on('data', (data: Buffer) => {
    if (out === '') setTimeout(() => child.kill('SIGINT'), 1000); // the head line: it has begun
    out += data.toString();
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(130);
  const args = /interrupted; to go on: daxmirror (explore --resume r1:punch-write:-:\w+:\S* --preemptions 1 --all)\nnot begun: daxmirror explore munmap-read --preemptions 1 --all\n$/.exec(out)?.[1]?.split(' ');
  expect(args, out).toBeDefined();
  const rest = daxmirror(args!);
  expect(rest).toMatchObject({ code: 0, stderr: '' });
  expect(rest.stdout).toContain('all, up to equivalence');
  const played = [...`${out}${rest.stdout}`.matchAll(/every schedule: ([\d,]+) schedules(?: and ([\d,]+) cut short)?/g)].map((numbers) => numbers.slice(1).map((text = '0') => Number(text.replaceAll(',', ''))));
  expect([0, 1].map((i) => played.reduce((sum, counts) => sum + (counts[i] as number), 0))).toEqual([5699, 6258]);
  const wrong = daxmirror(['explore', '--resume', (args![2] as string).slice(0, -3)]);
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/--resume: column \d+: it is cut/) });
}, 60_000);
