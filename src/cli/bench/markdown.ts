/** A bench report as Markdown: what bench/README.md holds, made anew by `daxmirror bench --markdown` and never by hand. */
import type { Change, Report } from '../../bench/index.ts';
import { changeGrid, changeSummary, gridsOf, headLines, mustGrid, sideBySide, unmeasuredGrid, type Grid } from './grids.ts';

export function benchMarkdown(report: Report, against?: { readonly name: string; readonly changes: readonly Change[] }): string {
  const [title, ...rest] = headLines(report);
  const lines = [title ?? '', rest.map((line) => `* ${line.trim().replace(/ {2,}/, ': ')}`).join('\n')];
  const section = (name: string, ...grids: readonly (Grid | null)[]): void => {
    const tables = grids.filter((grid) => grid !== null).map(gridMarkdown);
    if (tables.length > 0) lines.push(`### ${name}`, ...tables);
  };
  section('Musts', mustGrid(report.musts));
  section('Side by side', sideBySide(report));
  for (const table of report.tables) section(table.title, ...gridsOf(table));
  section('Without a number', unmeasuredGrid(report));
  if (against !== undefined) section(`Against ${against.name}: ${changeSummary(against.changes)}`, changeGrid(against.changes));
  return lines.join('\n\n');
}

function gridMarkdown({ columns, rows }: Grid): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(columns.map(({ head }) => head)), line(columns.map(({ align }) => (align === 'right' ? '--:' : '---'))), ...rows.map(line)].join('\n');
}
