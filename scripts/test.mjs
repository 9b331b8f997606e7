#!/usr/bin/env node
/**
 * `npm test`: the whole suite, then the suites that can touch the addon once more with DAXMIRROR_NATIVE=off.
 *
 * With arguments (files, -t NAME, any of vitest's options) one pass runs over just these and skips are not judged.
 * Ends with the failures of both passes, each skip with its reason, and a line `N passed, N failed`; exit code 1 if any failed.
 * A skip counts as a failure unless it was declared through test/support/skips.ts. DAXMIRROR_SUMMARY names a file for the same
 * as JSON: { passed, failed, failures, skips }.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { judge, summaryLines } from './test/summary.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** What runs again without the addon: every suite that goes through the arena, a whole machine or the CLI. */
const TOUCH_THE_ADDON = ['test/e2e/bench', 'test/e2e/cli', 'test/e2e/mirror', 'test/e2e/package', 'test/unit/arena'];

async function main(argv) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'daxmirror-test-'));
  try {
    const whole = argv.length === 0;
    const passes = [{ name: 'all', args: argv, env: {} }];
    if (whole) passes.push({ name: 'DAXMIRROR_NATIVE=off', args: ['--passWithNoTests', ...TOUCH_THE_ADDON], env: { DAXMIRROR_NATIVE: 'off' } });
    const outcomes = [];
    for (const [index, pass] of passes.entries()) {
      if (index > 0) process.stdout.write(`\nOnce more with ${pass.name}: ${TOUCH_THE_ADDON.join(' ')}\n`);
      outcomes.push(await runPass(pass, path.join(folder, String(index))));
    }
    const summary = judge(outcomes, { judgeSkips: whole });
    process.stdout.write(`\n${summaryLines(summary).join('\n')}\n`);
    if (process.env.DAXMIRROR_SUMMARY) writeFileSync(process.env.DAXMIRROR_SUMMARY, `${JSON.stringify(summary)}\n`);
    process.exitCode = summary.failed > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One vitest run. Resolves to { name, code, report, skips }; report is null when vitest ended without one. */
async function runPass({ name, args, env }, stem) {
  const files = { DAXMIRROR_PASS_REPORT: `${stem}.report`, DAXMIRROR_SKIPS: `${stem}.skips` };
  const vitest = path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const reporter = path.join(ROOT, 'scripts', 'test', 'reporter.mjs');
  const reporters = ['--reporter=default', `--reporter=${reporter}`];
  const code = await run([vitest, 'run', ...reporters, ...args], { ...process.env, ...env, ...files });
  const skips = existsSync(files.DAXMIRROR_SKIPS) ? readFileSync(files.DAXMIRROR_SKIPS, 'utf8').trim().split('\n').map((line) => JSON.parse(line)) : [];
  const report = existsSync(files.DAXMIRROR_PASS_REPORT) ? JSON.parse(readFileSync(files.DAXMIRROR_PASS_REPORT, 'utf8')) : null;
  return { name, code, report, skips };
}

function run(args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal));
  });
}

await main(process.argv.slice(2));
