/** A bench report for people, at a terminal. */
import Table from 'cli-table3';
import type { Change, Report } from '../../bench/index.ts';
import { changeGrid, changeSummary, gridsOf, headLines, mustGrid, sideBySide, unmeasuredGrid, type Grid } from './grids.ts';

/** Columns apart by spaces; a line under the head. */
const PLAIN = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};

/** `against`: what an older report said, and its name. */
export function benchText(report: Report, against?: { readonly name: string; readonly changes: readonly Change[] }): string {
  const comparison = against === undefined ? [] : [`against ${against.name}: ${changeSummary(against.changes)}`, gridText(changeGrid(against.changes))];
  const parts = [
    headLines(report).join('\n'), gridText(sideBySide(report)), ...report.tables.flatMap((table) => [table.title, ...gridsOf(table).map(gridText)]), gridText(unmeasuredGrid(report)),
    ...comparison, gridText(mustGrid(report.musts)),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function gridText(grid: Grid | null): string {
  if (grid === null) return '';
  const style = { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true };
  const table = new Table({ chars: PLAIN, colAligns: grid.columns.map(({ align }) => align), style });
  table.push(grid.columns.map(({ head }) => head), ...grid.rows.map((row) => [...row]));
  return table.toString();
}
