/**
 * A vitest reporter that writes one pass's outcome as JSON to the file DAXMIRROR_PASS_REPORT names.
 *
 * Counted as failed, beside failed tests: a test file that fails without a failed test (it cannot be loaded, a hook of it
 * throws), and an error that belongs to no test.
 */
import { writeFileSync } from 'node:fs';

export default class PassReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const report = { passed: 0, failed: 0, failures: [], ran: [], skipped: [] };
    for (const module of modules) addModule(report, module);
    for (const error of unhandledErrors) addFailure(report, `outside the tests: ${error.message}`);
    const file = process.env.DAXMIRROR_PASS_REPORT;
    if (file !== undefined) writeFileSync(file, JSON.stringify(report));
  }
}

function addModule(report, module) {
  const file = module.relativeModuleId;
  let failedHere = 0;
  for (const test of module.children.allTests()) {
    const { state } = test.result();
    const entry = { file, name: test.fullName, path: titles(test) };
    if (state === 'passed') {
      report.passed++;
      report.ran.push(entry);
    } else if (state === 'skipped') {
      report.skipped.push(entry);
    } else {
      failedHere++;
      report.ran.push(entry);
      addFailure(report, `${file} > ${test.fullName}${state === 'failed' ? '' : ` (${state})`}`);
    }
  }
  if (failedHere > 0 || module.ok()) return;
  const suites = [...module.children.allSuites()].filter((suite) => suite.errors().length > 0);
  const first = module.errors()[0] ?? suites[0]?.errors()[0];
  addFailure(report, `${file}: ${String(first?.message ?? module.state()).split('\n')[0]}`);
}

function addFailure(report, text) {
  report.failed++;
  report.failures.push(text);
}

/** Titles from the outermost suite to the test itself. */
function titles(test) {
  const path = [test.name];
  for (let parent = test.parent; parent.type === 'suite'; parent = parent.parent) path.unshift(parent.name);
  return path;
}
