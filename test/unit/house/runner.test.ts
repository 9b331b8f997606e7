/** `npm test` and `.ci/run`: what they count, list and answer, on stand-ins; the package check's rules. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileProblems, undeclaredImports } from '../../../scripts/check-package.mjs';
import { judge, skipLine, summaryLines } from '../../../scripts/test/summary.mjs';
import { SKIP_REASONS, needs } from '../../support/skips.ts';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'daxmirror run '));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(file: string, text: string): void {
  mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
  writeFileSync(path.join(folder, file), text);
}

const entry = (name: string) => ({ file: 'test/a.test.ts', name: `suite > ${name}`, path: ['suite', name] });
const report = (over: object) => ({ passed: 2, failed: 0, failures: [] as string[], ran: [entry('a'), entry('b')], skipped: [] as ReturnType<typeof entry>[], ...over });
const pass = (over: object, skips: object[] = [], code = 0) => ({ name: 'off', code, report: report(over), skips });
const declared = (name: string) => ({ file: 'test/a.test.ts', name, reason: 'no compiler' });

describe('the summary of the passes', () => {
  it('adds up what passed and failed', () => {
    expect(judge([pass({ passed: 3 }), pass({ passed: 1, failed: 1, failures: ['x'] }, [], 1)], { judgeSkips: true })).toEqual({ passed: 4, failed: 1, failures: ['[off] x'], skips: [] });
  });

  it('lists a declared skip once, with its reason, whether test or suite was declared', () => {
    const once = pass({ skipped: [entry('c')] }, [declared('c')]);
    const skips = [{ file: 'test/a.test.ts', name: 'suite > c', reason: 'no compiler' }];
    expect(judge([once, once], { judgeSkips: true })).toMatchObject({ failed: 0, skips });
    expect(judge([pass({ skipped: [entry('c')] }, [declared('suite')])], { judgeSkips: true })).toMatchObject({ failed: 0, skips });
  });

  it('lists no test that ran in the other pass', () => {
    expect(judge([pass({}), pass({ skipped: [entry('b')] }, [declared('b')])], { judgeSkips: true })).toMatchObject({ failed: 0, skips: [] });
  });

  it('a skip that nobody declared is a failure, unless a part of the suite was asked for', () => {
    const undeclared = [pass({ skipped: [entry('c')] }, [declared('d'), { ...declared('c'), file: 'test/b.test.ts' }])];
    expect(judge(undeclared, { judgeSkips: true })).toMatchObject({ failed: 1, failures: ['test/a.test.ts > suite > c: skipped without a declared reason'] });
    expect(judge(undeclared, { judgeSkips: false })).toMatchObject({ failed: 0, skips: [] });
  });

  it('a pass that ends badly without a failed test is a failure', () => {
    expect(judge([{ name: 'all', code: 'SIGKILL', report: null, skips: [] }], { judgeSkips: true })).toMatchObject({ passed: 0, failed: 1, failures: ['vitest ended with SIGKILL before its report'] });
    expect(judge([pass({}, [], 1)], { judgeSkips: true })).toMatchObject({ passed: 2, failed: 1 });
  });

  it('ends with the skips on one line and the counts on the last', () => {
    const skips = [{ file: 'a', name: 'b', reason: 'root' }];
    expect(summaryLines({ passed: 1, failed: 1, failures: ['x'], skips })).toEqual(['failed: x', 'skipped: a > b (root)', '1 passed, 1 failed']);
    expect(skipLine([])).toBe('skipped: none');
  });
});

describe('needs', () => {
  it('knows five reasons and takes no other', () => {
    expect(SKIP_REASONS).toEqual(['no compiler', 'no QEMU', 'no browser', 'no Redis', 'root']);
    expect(() => needs('no time' as 'root', true, import.meta.url)).toThrow(new RangeError('needs: reason no time is none of: no compiler, no QEMU, no browser, no Redis, root'));
  });
});

describe('npm test', () => {
  /** scripts/test.mjs in a project of its own, with these test files (each may use `it`, `describe`, `expect`, `needs`). */
  function run(tests: Record<string, string>, args: string[] = []): { code: number | null; lines: string[]; summary: unknown } {
    for (const file of ['scripts/test.mjs', 'scripts/test', 'test/support/skips.ts', 'vitest.config.ts', 'tsconfig.json']) cpSync(path.join(CHECKOUT, file), path.join(folder, file), { recursive: true });
    symlinkSync(path.join(CHECKOUT, 'node_modules'), path.join(folder, 'node_modules'), 'dir');
    put('package.json', '{ "type": "module" }');
    for (const [file, text] of Object.entries(tests)) {
      const support = path.posix.relative(path.posix.dirname(file), 'test/support/skips.ts');
      put(file, `import { describe, expect, it } from 'vitest'; import { needs } from '${support}';\n${text}`);
    }
    const summaryFile = path.join(folder, 'summary.json');
    const env = { ...process.env, DAXMIRROR_SUMMARY: summaryFile, DAXMIRROR_NATIVE: '', NO_COLOR: '1', CI: 'true' };
    const { status, stdout } = spawnSync(process.execPath, [path.join(folder, 'scripts/test.mjs'), ...args], { cwd: os.tmpdir(), env, encoding: 'utf8' });
    const summary: unknown = existsSync(summaryFile) ? JSON.parse(readFileSync(summaryFile, 'utf8')) : null;
    return { code: status, lines: stdout.trimEnd().split('\n'), summary };
  }

  const good = {
    'test/unit/mm/a.test.ts': "it('a', () => { expect(1).toBe(1); });",
    'test/e2e/cli.test.ts': "it('b', () => { expect(1).toBe(1); }); needs('no QEMU', false, import.meta.url).describe('vm', () => { it('c', () => {}); });",
    'test/unit/arena/d.test.ts': "needs('no compiler', process.env['DAXMIRROR_NATIVE'] !== 'off', import.meta.url).it('d', () => { expect(1).toBe(1); });",
  };

  it('runs everything, then once more without the addon what may touch it', () => {
    const { code, lines, summary } = run(good);
    expect(lines.slice(-2)).toEqual(['skipped: test/e2e/cli.test.ts > vm > c (no QEMU)', '4 passed, 0 failed']);
    expect(summary).toEqual({ passed: 4, failed: 0, failures: [], skips: [{ file: 'test/e2e/cli.test.ts', name: 'vm > c', reason: 'no QEMU' }] });
    expect(code).toBe(0);
  });

  it('counts failed tests, files that cannot be loaded, hooks that throw, stray errors and undeclared skips', () => {
    const { code, lines } = run({
      'test/unit/mm/failing.test.ts': "it('fails', () => { expect(1).toBe(2); });",
      'test/unit/mm/load.test.ts': "throw new Error('no load');",
      'test/unit/mm/hook.test.ts': "import { afterAll } from 'vitest'; describe('s', () => { afterAll(() => { throw new Error('no hook'); }); it('runs', () => {}); });",
      'test/unit/mm/stray.test.ts': "it('strays', async () => { void Promise.reject(new Error('no owner')); await new Promise((r) => setTimeout(r, 20)); });",
      'test/unit/mm/skip.test.ts': "it('x', () => {}); it.skip('y', () => {}); it.todo('z');",
    });
    expect(lines.at(-1)).toBe('3 passed, 6 failed');
    expect(lines.filter((line) => line.startsWith('failed: ')).sort()).toEqual([
      'failed: outside the tests: no owner',
      'failed: test/unit/mm/failing.test.ts > fails',
      'failed: test/unit/mm/hook.test.ts: no hook',
      'failed: test/unit/mm/load.test.ts: no load',
      'failed: test/unit/mm/skip.test.ts > y: skipped without a declared reason',
      'failed: test/unit/mm/skip.test.ts > z: skipped without a declared reason',
    ]);
    expect(code).toBe(1);
  });

  it('with arguments runs one pass over these', () => {
    const { code, lines } = run(good, ['test/e2e']);
    expect(lines.slice(-2)).toEqual(['skipped: none', '1 passed, 0 failed']);
    expect(code).toBe(0);
  });
});

describe('.ci/run', () => {
  /** .ci/run with an npm that writes down how it was called and does what `behaviour` (shell) says. */
  function run(behaviour: string, calls = 1): { code: number | null; lines: string[]; log: string[] } {
    for (const file of ['.ci/run', 'scripts/test/counts.mjs', 'scripts/test/summary.mjs']) cpSync(path.join(CHECKOUT, file), path.join(folder, 'the clone', file));
    put('the clone/package-lock.json', '{}');
    put('bin/npm', `#!/bin/sh\necho "$* CI=$CI" >> '${folder}/log'\n[ "$1" = ci ] && mkdir -p node_modules\n${behaviour}\n`);
    chmodSync(path.join(folder, 'bin/npm'), 0o755);
    const env = { ...process.env, PATH: `${path.join(folder, 'bin')}${path.delimiter}${process.env['PATH']}` };
    let outcome = spawnSync('bash', [path.join(folder, 'the clone/.ci/run')], { cwd: os.tmpdir(), env, encoding: 'utf8' });
    for (let i = 1; i < calls; i++) outcome = spawnSync('bash', [path.join(folder, 'the clone/.ci/run')], { cwd: os.tmpdir(), env, encoding: 'utf8' });
    return { code: outcome.status, lines: outcome.stdout.trimEnd().split('\n'), log: readFileSync(path.join(folder, 'log'), 'utf8').trim().split('\n') };
  }
  const tests = (passed: number, failed: number, code: number): string =>
    `[ "$1" = test ] && { echo '{"passed":${passed},"failed":${failed},"skips":[{"file":"f","name":"n","reason":"root"}]}' > "$DAXMIRROR_SUMMARY"; exit ${code}; }\n`;

  it('adds the further checks to the tests and ends with skips and counts', () => {
    const { code, lines, log } = run(`${tests(10, 0, 0)}exit 0`);
    expect(lines.slice(-2)).toEqual(['skipped: f > n (root)', '13 passed, 0 failed']);
    expect(log).toEqual(['ci --no-audit --no-fund CI=true', 'test CI=true', 'run --silent lint CI=true', 'run --silent typecheck CI=true', 'run --silent check:package CI=true']);
    expect(code).toBe(0);
  });

  it('installs again only when the lock file changed', () => {
    const { log } = run(`${tests(1, 0, 0)}exit 0`, 2);
    expect(log.filter((line) => line.startsWith('ci '))).toHaveLength(1);
  });

  it('goes on after a failure, and answers it', () => {
    const { code, lines } = run(`${tests(10, 2, 1)}[ "$3" = lint ] && exit 3; exit 0`);
    expect(lines.slice(-4)).toEqual(['failed: npm test (2 tests, listed above)', 'failed: lint (exit code 3)', 'skipped: f > n (root)', '12 passed, 3 failed']);
    expect(code).toBe(1);
  });

  it('tests that end without a summary have failed', () => {
    const { code, lines } = run('[ "$1" = test ] && exit 0; exit 0');
    expect(lines.slice(-3)).toEqual(['failed: npm test (exit code 0, no summary)', 'skipped: not known, the tests did not end', '3 passed, 1 failed']);
    expect(code).toBe(1);
  });

  it('tests that end badly after a good summary have failed', () => {
    expect(run(`${tests(5, 0, 7)}exit 0`).lines.at(-1)).toBe('8 passed, 1 failed');
  });

  it('without its packages nothing else is tried', () => {
    const { code, lines, log } = run('exit 1');
    expect(lines.at(-1)).toBe('0 passed, 1 failed');
    expect(log).toHaveLength(1);
    expect(code).toBe(1);
  });
});

describe('check:package', () => {
  const whole = ['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'src/abi.ts', 'src/native/binding.gyp'];
  const wasm = ['dist/wasm/walk.shared.wasm', 'dist/wasm/walk.simd.wasm', 'dist/wasm/walk.scalar.wasm'];

  it('wants the package whole', () => {
    expect(fileProblems([...whole, ...wasm], 1000)).toEqual([]);
    expect(fileProblems(whole, 1000)).toEqual(wasm.map((file) => `${file} is not in the package`));
  });

  it('wants nothing else in it', () => {
    for (const file of ['test/a.test.js', 'assembly/index.ts', 'dist/native/daxmirror.node', 'src/native/build/Release/x.o', 'dist/.build/ts.json']) expect(fileProblems([...whole, ...wasm, file], 1000)).toEqual([`${file} does not belong in the package`]);
    expect(fileProblems([...whole, ...wasm, 'dist/native/prebuilds/linux-x64/daxmirror.node'], 1000)).toEqual([]);
    expect(fileProblems([...whole, ...wasm], 2 ** 30)).toHaveLength(1);
  });

  it('wants every import declared', () => {
    const check = (text: string): string[] => undeclaredImports(['dist/a.js'], { name: 'daxmirror', dependencies: { commander: '1', '@a/b': '1' } }, () => text);
    expect(check("import { a } from 'commander'; import('node:fs'); import x from '@a/b/c'; export * from './x.js'; import 'fs'; import 'daxmirror';")).toEqual([]);
    expect(check("import { a } from 'fast-check';")).toEqual(['dist/a.js imports fast-check, which package.json does not name']);
    expect(check("const m = await import('@b/c');")).toHaveLength(1);
    expect(check("check('from', 'to', from);\ncheck('from');")).toEqual([]);
  });
});
