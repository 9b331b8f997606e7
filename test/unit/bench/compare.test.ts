/** Comparisons of reports, and the forms in which a report goes out. */
import { describe, expect, it } from 'vitest';
import { compareReports } from '../../../dist/bench/compare.js';
import { reportOf, type Head, type Report, type Row } from '../../../dist/bench/report.js';
import type { QuietSpread } from '../../../dist/bench/spread.js';
import { benchHtml } from '../../../dist/cli/bench/html.js';
import { benchMarkdown } from '../../../dist/cli/bench/markdown.js';
import { benchText } from '../../../dist/cli/bench/tables.js';

const HEAD: Head = {
  schema: 'daxmirror-bench', version: 2, quick: false, date: '2019-01-29T00:00:00.000Z', host: { cpu: 'c <3>', cpus: 1, memoryBytes: 2 ** 30, system: 's', node: '20', v8: '11' }, clocks: [], nativeReason: null,
};

function spread(median: number, part = 0.01): QuietSpread {
  return { median, lower: median * (1 - part), upper: median * (1 + part), min: median / 2, max: median * 2, rounds: 15, isQuiet: true };
}

function row(contender: string, ns: number | null, more: Partial<Row> = {}): Row {
  const status = ns === null ? 'refused' : 'measured';
  return {
    table: 'fill', workload: 'w', size: null, pageSize: '4K', contender, isNull: contender === 'null', status, reason: ns === null ? 'differs at word 1' : null, unit: 'page', ns: ns === null ? null : spread(ns), against: [],
    ratios: {}, gbPerSecond: null, rounds: 15, clock: 'wall time', model: null, sizes: {}, ...more,
  };
}

function report(...rows: Row[]): Report {
  return reportOf(HEAD, rows, true);
}

function verdicts(old: Report, now: Report): Record<string, string> {
  return Object.fromEntries(compareReports(old, now).map(({ contender, verdict }) => [contender, verdict]));
}

describe('comparing', () => {
  it('calls faster and slower what leaves 1 by more than 5 %', () => {
    expect(verdicts(report(row('a', 100), row('b', 100), row('c', 100)), report(row('a', 80), row('b', 104), row('c', 120)))).toEqual({ a: 'faster', b: 'same', c: 'slower' });
  });

  it('takes the time against a peer of the same run before its ns: a slower machine is no slower code', () => {
    const against = ['plain'];
    const old = report(row('walker', 100, { against, ratios: { plain: spread(0.5) } }));
    expect(compareReports(old, report(row('walker', 300, { against, ratios: { plain: spread(0.5) } })))).toMatchObject([{ by: { peer: 'plain' }, verdict: 'same' }]);
    expect(compareReports(old, report(row('walker', 100, { against, ratios: { plain: spread(0.8) } })))).toMatchObject([{ verdict: 'slower', ratio: { median: 1.6 } }]);
    expect(compareReports(old, report(row('walker', 300, { against })))).toMatchObject([{ by: 'ns', verdict: 'slower' }]);
  });

  it('calls nothing a change that the null row of either run shows as well', () => {
    const noisy = (ns: number): Report => report(row('walker', ns), row('null', ns, { ratios: { walker: spread(1.3) } }));
    const calm = (ns: number): Report => report(row('walker', ns), row('null', ns, { ratios: { walker: spread(1) } }));
    expect(verdicts(calm(100), calm(120))).toEqual({ walker: 'slower' });
    expect(verdicts(noisy(100), calm(120))).toEqual({ walker: 'same' });
    expect(verdicts(calm(100), noisy(120))).toEqual({ walker: 'same' });
  });

  it('calls nothing a change whose quartiles overlap', () => {
    expect(verdicts(report(row('a', 100, { ns: spread(100, 0.2) })), report(row('a', 120, { ns: spread(120, 0.2) })))).toEqual({ a: 'same' });
  });

  it('names what is new, gone, or without a number', () => {
    expect(verdicts(report(row('a', 100), row('b', null)), report(row('b', 100), row('c', 100)))).toEqual({ b: 'not measured', c: 'new', a: 'gone' });
  });
});

describe('a report goes out', () => {
  const at = (n: number, ns: number, contender = 'walker'): Row => row(contender, ns, { workload: `find, ${n} VMAs`, size: { curve: 'find a VMA', at: n, of: 'VMAs' } });
  const full = report(at(100, 10), at(100, 11, 'null'), at(1000, 12), at(1000, 13, 'null'), row('x|y', null, { workload: '<other>' }));
  const changes = { name: 'old.json', changes: compareReports(report(at(100, 5)), full) };

  it('as text with what changed, and what has no number', () => {
    const text = benchText(full, changes);
    expect(text).toContain('against old.json: 0 faster, 1 slower, 0 the same; 2 new');
    expect(text).toMatch(/find, 100 VMAs +walker +ns +5\.00 \(4\.95\.\.5\.05\) +10\.0 \(9\.90\.\.10\.1\) +2\.00 \(1\.96\.\.2\.04\) +5\.00 % +slower/);
    expect(text).toMatch(/refused: differs at word 1 +x\|y +<other>/);
    expect(benchText(reportOf(HEAD, [at(100, 10)], false))).toMatch(/^daxmirror bench, 2019-01-29T00:00:00\.000Z, PARTIAL: /);
  });

  it('as Markdown whose tables have as many cells in each line', () => {
    const text = benchMarkdown(full, changes);
    expect(text).toContain('x\\|y');
    const tables = text.split('\n\n').filter((part) => part.startsWith('|'));
    expect(tables.length).toBeGreaterThan(2);
    for (const table of tables) expect(new Set(table.split('\n').map((line) => line.replaceAll('\\|', '').split('|').length)).size).toBe(1);
  });

  it('as one page that asks for nothing from anywhere, escapes names, and has the curve', () => {
    const page = benchHtml(full, changes);
    expect(page).toContain('&lt;other&gt;');
    expect(page).not.toContain('<other>');
    expect(page.match(/\b(?:src|href)="(?!#)[^"]*"|@import|url\((?!data:)/g)).toBeNull();
    expect(page).toContain('"xs":[100,1000],"lines":[{"name":"walker"');
    expect(page).toMatch(/<div id="plot0" role="img" aria-label="find a VMA: ns\/page of walker, null at 2 sizes in VMAs">/);
    for (const table of page.match(/<table.*?<\/table>/gs) ?? []) expect(table).toMatch(/^<table[^>]*><caption>.+<th scope="col"/s);
    expect(page.match(/<script>/g)).toHaveLength(2);
    expect(page.match(/<\/script>/g)).toHaveLength(2);
  });

  it('with scripts that are JavaScript', () => {
    for (const [, script] of benchHtml(full).matchAll(/<script>(.*?)<\/script>/gs)) expect(() => new Function(script ?? '')).not.toThrow();
  });
});
