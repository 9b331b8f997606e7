/** From the outcomes of the passes to one summary. Pure: the runner does the running and the printing. */

/**
 * @param outcomes one a pass: { name, code, report: { passed, failed, failures, ran, skipped } | null, skips: declared ones }
 * @param options judgeSkips: whether an undeclared skip is a failure
 * @returns { passed, failed, failures: string[], skips: { file, name, reason }[] }; a skip is listed when its test ran in no pass
 */
export function judge(outcomes, { judgeSkips }) {
  const summary = { passed: 0, failed: 0, failures: [], skips: [] };
  const fail = (text) => {
    summary.failed++;
    summary.failures.push(text);
  };
  const key = (entry) => `${entry.file}\0${entry.path.join('\0')}`;
  const ran = new Set(outcomes.flatMap(({ report }) => (report?.ran ?? []).map(key)));
  const listed = new Set();
  for (const [index, { name, code, report, skips }] of outcomes.entries()) {
    const tag = index === 0 ? '' : `[${name}] `;
    if (report === null) {
      fail(`${tag}vitest ended with ${code} before its report`);
      continue;
    }
    summary.passed += report.passed;
    for (const failure of report.failures) fail(tag + failure);
    if (code !== 0 && report.failed === 0) fail(`${tag}vitest ended with ${code}`);
    if (!judgeSkips) continue;
    for (const entry of report.skipped) {
      const declared = skips.find((skip) => skip.file === entry.file && entry.path.includes(skip.name));
      if (declared === undefined) fail(`${tag}${entry.file} > ${entry.name}: skipped without a declared reason`);
      else if (!ran.has(key(entry)) && !listed.has(key(entry))) {
        listed.add(key(entry));
        summary.skips.push({ file: entry.file, name: entry.name, reason: declared.reason });
      }
    }
  }
  return summary;
}

/** What the runner prints at the end; the last line is `N passed, N failed`. */
export function summaryLines({ passed, failed, failures, skips }) {
  return [...failures.map((failure) => `failed: ${failure}`), skipLine(skips), `${passed} passed, ${failed} failed`];
}

/** All skips on one line, by reason. */
export function skipLine(skips) {
  if (skips.length === 0) return 'skipped: none';
  return `skipped: ${skips.map(({ file, name, reason }) => `${file} > ${name} (${reason})`).join('; ')}`;
}
