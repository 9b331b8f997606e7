/**
 * A bench report as one page of HTML that needs nothing else: uPlot and its styles are put into it from this package's dependency, and it asks for nothing
 * from anywhere. Cost against size as plots, contenders of a workload as bars beside their numbers, light and dark. Every number of a plot
 * is in a table too.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Change, Report, Row, Table } from '../../bench/index.ts';
import { changeGrid, changeSummary, digits, gridsOf, headLines, middle, mustGrid, sideBySide, unmeasuredGrid, type Grid } from './grids.ts';
import { drawPlots, type Plot } from './plots.ts';
import { PAGE_STYLE } from './pageStyle.ts';

/** Contenders keep their colour from plot to plot, the walker's builds and its null row have the walker's; others take what is left in turn. */
const COLORED = ['walker', 'avx2', 'plain', 'kernel', 'hmm2019', 'autovec', 'mainline', 'avx2nt', 'avx512', 'memset'];
const COLORS = 10;
const NULL_DASH = [4, 4];
const BUILD_DASHES: Readonly<Record<string, readonly number[]>> = { 'walker simd': [10, 3], 'walker scalar': [2, 3] };

export function benchHtml(report: Report, against?: { readonly name: string; readonly changes: readonly Change[] }): string {
  const plots = plotsOf(report);
  const [title = '', ...facts] = headLines(report);
  const parts: readonly (readonly [name: string, body: string])[] = [
    ['Musts', gridHtml('What has to be reached, beside what was measured', mustGrid(report.musts))],
    ['Cost against size', plots.length === 0 ? '' : `<p>Both axes logarithmic; the same numbers are in the tables below.</p><div class="plots">${plots.map(figure).join('')}</div>`],
    ['Comparison', against === undefined ? '' : comparison(against)],
    ['Side by side', gridHtml('Page sizes side by side', sideBySide(report))],
    ...report.tables.map((table) => [table.name, `<p>${escaped(table.title)}</p>${barsOf(table)}<details><summary>All numbers of this table</summary>${gridsOf(table).map((grid) => gridHtml(table.title, grid)).join('')}</details>`] as const),
    ['Without a number', gridHtml('Rows that were refused or missing, and why', unmeasuredGrid(report))],
  ];
  const shown = parts.filter(([, body]) => body !== '');
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${libraryText('uplot/dist/uPlot.min.css')}${PAGE_STYLE}</style></head>
<body><header><h1>${escaped(title)}</h1><ul class="facts">${facts.map((fact) => `<li>${escaped(fact.trim())}</li>`).join('')}</ul>
<nav aria-label="tables">${shown.map(([name]) => `<a href="#${anchor(name)}">${escaped(name)}</a>`).join(' ')}</nav></header>
<main>${shown.map(([name, body]) => section(name, body)).join('\n')}</main>
<script>${libraryText('uplot/dist/uPlot.iife.min.js')}</script>
<script>(${drawPlots.toString()})(window, uPlot, ${JSON.stringify(plots).replaceAll('<', '\\u003c')});</script>
</body></html>
`;
}

/** What changed, and all that was compared folded away. */
function comparison({ name, changes }: { readonly name: string; readonly changes: readonly Change[] }): string {
  const changed = changes.filter(({ verdict }) => verdict !== 'same');
  const open = changed.length === 0 ? '' : gridHtml(`Changes since ${name}`, changeGrid(changed));
  return `<p>Against ${escaped(name)}: ${escaped(changeSummary(changes))}.</p>${open}<details><summary>All that was compared</summary>${gridHtml(`Compared with ${name}`, changeGrid(changes))}</details>`;
}

/** Text of a dependency's file. It must not end the element it is put into. */
function libraryText(path: string): string {
  return readFileSync(createRequire(import.meta.url).resolve(path), 'utf8').replaceAll(/<\/(script|style)/gi, '<\\/$1');
}

/** Curves of at least two sizes, a line for each contender with at least two numbers. */
function plotsOf({ tables }: Report): Plot[] {
  const curves = new Map<string, Row[]>();
  for (const row of tables.flatMap(({ rows }) => rows)) {
    if (row.size === null) continue;
    const key = `${row.size.curve}\n${row.unit}`;
    curves.set(key, [...(curves.get(key) ?? []), row]);
  }
  return [...curves.values()].flatMap((rows, i) => plotOf(rows, `plot${i}`) ?? []);
}

function plotOf(rows: readonly Row[], id: string): Plot | null {
  const { size, unit } = rows[0] as Row;
  if (size === null) return null;
  const xs = [...new Set(rows.map((row) => row.size?.at ?? 0))].sort((a, b) => a - b);
  const names = [...new Set(rows.map(({ contender }) => contender))];
  const lines = names.flatMap((name) => {
    const own = rows.filter((row) => row.contender === name);
    const ys = xs.map((x) => own.find((row) => row.size?.at === x)?.ns?.median ?? null);
    return ys.filter((y) => y !== null).length < 2 ? [] : [{ name, color: own[0]?.isNull === true ? 0 : colorOf(name, names), dash: own[0]?.isNull === true ? NULL_DASH : (BUILD_DASHES[name] ?? []), ys }];
  });
  return xs.length < 2 || lines.length === 0 ? null : { id, title: size.curve, of: size.of, yLabel: `ns/${unit}`, xs, lines };
}

function colorOf(name: string, names: readonly string[]): number {
  const known = COLORED.indexOf(name in BUILD_DASHES ? 'walker' : name);
  if (known >= 0) return known;
  const others = names.filter((other) => !COLORED.includes(other) && !(other in BUILD_DASHES));
  return (COLORS - 1 - others.indexOf(name) + COLORS * names.length) % COLORS;
}

function figure({ id, title, of, yLabel, lines, xs }: Plot): string {
  const words = `${yLabel} of ${lines.map(({ name }) => name).join(', ')} at ${xs.length} sizes in ${of}`;
  return `<figure><figcaption>${escaped(title)}</figcaption><div id="${id}" role="img" aria-label="${escaped(`${title}: ${words}`)}"></div></figure>`;
}

/** Contenders of each workload, the longest bar the slowest. */
function barsOf({ rows }: Table): string {
  const workloads = new Map<string, Row[]>();
  for (const row of rows) workloads.set(row.workload, [...(workloads.get(row.workload) ?? []), row]);
  const bodies = [...workloads].map(([name, own]) => {
    const slowest = Math.max(...own.map((row) => row.ns?.median ?? 0));
    const lines = own.map((row, i) => {
      const head = i === 0 ? `<th scope="rowgroup" rowspan="${own.length}">${escaped(name)}</th>` : '';
      return `<tr>${head}<th scope="row">${escaped(row.contender)}</th>${row.ns === null ? `<td colspan="3" class="none">${escaped(`${row.status}: ${row.reason ?? ''}`)}</td>` : barCells(row, slowest, own)}</tr>`;
    });
    return `<tbody>${lines.join('')}</tbody>`;
  });
  return `<div class="scroll"><table class="bars"><caption>Time of each contender, the shorter the faster</caption><thead><tr><th scope="col">workload</th><th scope="col">who</th><th scope="col" class="bar">time</th><th scope="col">ns</th><th scope="col">× walker</th></tr></thead>${bodies.join('')}</table></div>`;
}

function barCells(row: Row, slowest: number, own: readonly Row[]): string {
  const { ns } = row;
  if (ns === null) return '';
  const percent = Math.max(0.5, (100 * ns.median) / slowest).toFixed(1);
  const base = own[0]?.ns?.median;
  const who = row.contender.startsWith('walker') ? 'ours' : row.isNull ? 'null' : 'peer';
  return `<td class="bar"><span class="${who}" style="width:${percent}%"></span></td><td class="number">${middle(ns)} ns/${escaped(row.unit)}</td><td class="number">${base === undefined ? '' : digits(ns.median / base)}</td>`;
}

function section(name: string, body: string): string {
  return `<section id="${anchor(name)}" aria-labelledby="${anchor(name)}-head"><h2 id="${anchor(name)}-head">${escaped(name)}</h2>${body}</section>`;
}

function gridHtml(caption: string, grid: Grid | null): string {
  if (grid === null) return '';
  const { columns, rows } = grid;
  const head = columns.map((column) => `<th scope="col"${column.align === 'right' ? ' class="number"' : ''}>${escaped(column.head)}</th>`).join('');
  const cell = (words: string, i: number): string => {
    const state = words === '✓' ? ' class="holds"' : words.startsWith('✗') || words === 'slower' ? ' class="missed"' : words === 'faster' ? ' class="holds"' : columns[i]?.align === 'right' ? ' class="number"' : '';
    return i === 0 ? `<th scope="row">${escaped(words)}</th>` : `<td${state}>${escaped(words)}</td>`;
  };
  return `<div class="scroll"><table><caption>${escaped(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('')}</tbody></table></div>`;
}

function anchor(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
