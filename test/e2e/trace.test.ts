/** `daxmirror trace` as users run it: files, pipes, packed traces, bad input, traces that end too early, Ctrl-C. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { MAIN, ROOT, daxmirror, temporaryFolder } from '../support/cli.ts';

const LINES = Array.from({ length: 3000 }, (_, i) => ` L ${(0x4000000000 + (i % 300) * 4096).toString(16)},8\n`).join('');
const folder = temporaryFolder();

function fileOf(name: string, bytes: string | Uint8Array): string {
  const file = path.join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

/** Fed through standard input, from another folder. */
function piped(args: readonly string[], input: string | Uint8Array): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'trace', '-', ...args], { input, cwd: folder, encoding: 'utf8', timeout: 60_000 });
  return { code: status, stdout, stderr };
}

interface Json {
  partial: string | null;
  accesses: number;
  packed: string | null;
  sizes: { page: string; costs: { walks: number; references: number }; faults: Record<string, number> }[];
}
const reportOf = (stdout: string): Json => JSON.parse(stdout) as Json;

describe('a trace', () => {
  const file = fileOf('loads.lackey', LINES);

  test('comes out the same as a file, in gzip, and through a pipe', () => {
    const plain = daxmirror(['trace', file, '--json']);
    expect(plain).toMatchObject({ code: 0, stderr: '' });
    const report = reportOf(plain.stdout);
    expect(report).toMatchObject({ schema: 'daxmirror-trace', version: 1, partial: null, accesses: 3000, format: 'lackey', cpu: 'zen4', packed: null });
    expect(report.sizes.map(({ page, faults }) => [page, faults[page]])).toEqual([['4K', 300], ['2M', 1], ['1G', 1]]);
    for (const [stdout, packed] of [
      [daxmirror(['trace', fileOf('loads.gz', gzipSync(LINES)), '--json']).stdout, 'gzip'],
      [piped(['--json'], LINES).stdout, null],
      [piped(['--json'], gzipSync(LINES)).stdout, 'gzip'],
    ] as const) expect(reportOf(stdout)).toMatchObject({ packed, accesses: 3000, sizes: report.sizes });
  });

  test('recorded by valgrind ships as an example', () => {
    const { code, stdout } = daxmirror(['trace', path.join('examples', 'ls.lackey.gz'), '--page', '4K', '--through', 'device', '--json']);
    expect(code).toBe(0);
    expect(reportOf(stdout)).toMatchObject({ packed: 'gzip', counts: { lines: 20_000, skipped: 0 }, through: 'device', sizes: [{ page: '4K', costs: { lookups: { fetch: 0 } } }] });
  });

  test('in xz is read by the xz program; without one that is said in a line', () => {
    const { stdout: packed } = spawnSync('xz', ['-c'], { input: LINES });
    const xz = packed?.length > 0 ? packed : Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0, 0);
    const named = fileOf('loads.xz', xz);
    if (packed?.length > 0) expect(reportOf(daxmirror(['trace', named, '--json']).stdout)).toMatchObject({ packed: 'xz', accesses: 3000, partial: null });
    const without = daxmirror(['trace', named], { env: { PATH: folder } });
    expect(without).toMatchObject({ code: 2, stdout: '' });
    expect(without.stderr).toMatch(/^daxmirror: .*loads\.xz: the xz program is needed to read it \(xz-utils\), and could not be run: ENOENT\n$/);
  });

  test('README shows what the example prints', () => {
    const trace = spawnSync(process.execPath, [path.join(ROOT, 'examples', 'hashtable.mjs')], { maxBuffer: 2 ** 24 }).stdout;
    const { code, stdout } = piped([], trace);
    expect(code).toBe(0);
    const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
    expect(readme.split('<!-- output of node examples/hashtable.mjs | daxmirror trace - -->\n')[1]?.startsWith(`\`\`\`\n${stdout}\`\`\`\n`), stdout).toBe(true);
  });

  test('--list-cpus names every CPU with its numbers and where they are from', () => {
    const { code, stdout } = daxmirror(['trace', '--list-cpus']);
    expect(code).toBe(0);
    for (const line of [/^zen4 {2}AMD Zen 4$/m, /L2 +L2 DTLB +3072, 12-way +4K 2M \(1G as 2M\) +load store +measured: CPUID/, /reference +20 cycles/]) expect(stdout).toMatch(line);
  });
});

describe('bad input is one line and exit code 2', () => {
  test.each([
    [['--cpu', 'zen44'], LINES, /unknown CPU 'zen44' \(did you mean zen4\?\)/],
    [[], '', /standard input: empty: not one access/],
    [[], readFileSync(process.execPath).subarray(0, 4096), /standard input: record 1: .*ChampSim/],
    [[], Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0), /zstd is not read here; unpack it into a pipe: zstd -dc \| daxmirror trace -/],
  ] as const)('%j', (args, input, line) => {
    const { code, stdout, stderr } = piped(args, input);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(line);
    expect(stderr).toMatch(/^[^\n]+\n$/);
  });

  test('files that cannot be read', () => {
    for (const [args, line] of [[['nowhere'], /nowhere: no such file or directory/], [['.'], /a folder/], [[], /no file given/]] as const) {
      const { code, stderr } = daxmirror(['trace', ...args]);
      expect(code).toBe(2);
      expect(stderr).toMatch(line);
    }
  });

  test('what stands before it counts, and is called partial', () => {
    const { code, stdout, stderr } = piped([], `${LINES}what?\n`);
    expect(code).toBe(2);
    expect(stdout).toMatch(/^PARTIAL RESULTS: 3001:1: 'what\?' is not a line of lackey.*\nstandard input: lackey text, 3,000 lines: 3,000 loads\n/);
    expect(stderr).toMatch(/^standard input:3001:1: 'what\?'[^\n]*\n$/);
    expect(reportOf(piped(['--json'], `${LINES}what?\n`).stdout)).toMatchObject({ partial: expect.stringMatching(/^3001:1/), accesses: 3000 });
  });

  test('a packed trace that ends too early', () => {
    const cut = gzipSync(LINES.repeat(20)).subarray(0, 300);
    const { code, stderr } = piped([], cut);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^daxmirror: standard input: truncated: the gzip data ends too early, after line \d+\n$/);
  });
});

test('a pipe without an end is read in constant memory; Ctrl-C shows what came of it so far', async () => {
  const child = spawn(process.execPath, [MAIN, 'trace', '-', '--page', '4K', '--json'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  const chunk = LINES.repeat(20);
  let fed = 0;
  child.stdin.on('error', () => {});
  const feed = (): void => {
    while (fed < 40 && child.stdin.write(chunk)) fed++;
    if (fed++ >= 40) child.kill('SIGINT');
    else child.stdin.once('drain', feed);
  };
  feed();
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(130);
  const report = reportOf(stdout);
  expect(report.partial).toMatch(/^interrupted after \d+ lines$/);
  expect(report.accesses).toBeGreaterThan(0);
  expect(report.sizes[0]?.faults).toEqual({ '4K': 300, '2M': 0, '1G': 0 });
}, 60_000);
