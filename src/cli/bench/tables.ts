/** A bench report for people: page sizes side by side, then every row with its ratios, modelled values in columns of their own, then the musts. */
import Table from 'cli-table3';
import type { Judgement, Model, Report, QuietSpread, Row, Table as BenchTable, TableName } from '../../bench/index.ts';
import { LEVEL_SIZES } from '../../units.ts';
import { bytesInWords, grouped } from '../words.ts';

/** Columns apart by spaces; a line under the head. */
const PLAIN = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};

type Align = 'left' | 'right';

/** where the rate is the result */
const RATED: readonly TableName[] = ['populate', 'fault'];

export function benchText(report: Report): string {
  const parts = [head(report), sideBySide(report), ...report.tables.flatMap((table) => [table.title, ...tablesOf(table)]), mustTable(report.musts)];
  return parts.filter((part) => part !== '').join('\n\n');
}

function head({ host, date, quick, clocks, nativeReason }: Report): string {
  const clockWords = clocks.map(({ kind, resolutionNs }) => `${kind} (steps of ${grouped(Math.round(resolutionNs))} ns)`);
  return [
    `daxmirror bench${quick ? ' --quick' : ''}, ${date}`,
    `  host    ${host.cpu}, ${host.cpus} CPUs, ${bytesInWords(host.memoryBytes)}, ${host.system}, Node.js ${host.node}`,
    `  clocks  ${clockWords.join(', ')}`,
    `  peers   ${nativeReason === null ? 'native addon' : `none: ${nativeReason}`}`,
    '  median (min..max) over rounds; time/X is the time of this row over that of X in the same round; null is the walker once more',
    '  rounds in which a neighbour had a share of this core are left out; ~ where too few would be left, and all count',
  ].join('\n');
}

/** Workloads that differ in page size only, one a line. */
function sideBySide({ tables }: Report): string {
  const bases = tables.flatMap(({ rows }) => rows.filter((row, i) => row.pageSize !== null && row.workload !== rows[i - 1]?.workload));
  const stems = new Map<string, Map<string, Row>>();
  for (const row of bases) {
    const stem = row.workload.replace(` ${row.pageSize}`, '');
    stems.set(stem, (stems.get(stem) ?? new Map<string, Row>()).set(row.pageSize as string, row));
  }
  const shared = [...stems].filter(([, rows]) => rows.size > 1);
  if (shared.length === 0) return '';
  const table = newTable(['left', ...LEVEL_SIZES.map((): Align => 'left')]);
  table.push(['side by side', ...LEVEL_SIZES]);
  for (const [stem, rows] of shared) table.push([stem, ...LEVEL_SIZES.map((size) => sideCell(rows.get(size)))]);
  return table.toString();
}

function sideCell(row: Row | undefined): string {
  if (row === undefined) return '';
  if (row.ns === null) return row.status;
  const peer = row.against[0];
  const ratio = peer === undefined || peer === row.contender ? undefined : row.ratios[peer];
  return `${middle(row.ns)} ns/${row.unit}${ratio === undefined ? '' : `, ${middle(ratio)} × ${peer}`}`;
}

/** One table for each clock, unit and set of peers that rows are compared with: the columns are theirs. */
function tablesOf({ name, rows }: BenchTable): string[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = [row.clock, row.unit, ...row.against].join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map((group) => rowTable(group, RATED.includes(name)));
}

/** A column of such a table: its head, where it stands, and a row's cell. */
interface Column {
  readonly head: string;
  readonly align: Align;
  readonly cell: (row: Row, isFirst: boolean) => string;
}

function rowTable(rows: readonly Row[], isRated: boolean): string {
  const columns = columnsOf(rows, isRated);
  const table = newTable(columns.map(({ align }) => align));
  table.push(columns.map(({ head: title }) => title));
  for (const [i, row] of rows.entries()) table.push(columns.map(({ cell }) => cell(row, row.workload !== rows[i - 1]?.workload)));
  return table.toString();
}

function columnsOf(rows: readonly Row[], isRated: boolean): Column[] {
  const columns: Column[] = [
    { head: 'workload', align: 'left', cell: (row, isFirst) => (isFirst ? row.workload : '') },
    { head: 'who', align: 'left', cell: (row) => row.contender },
    { head: `${rows[0]?.clock === 'wall time' ? 'wall' : 'CPU'} ns/${rows[0]?.unit}`, align: 'left', cell: (row) => (row.ns === null ? `${row.status}: ${row.reason}` : spread(row.ns)) },
  ];
  if (isRated) columns.push({ head: 'rate', align: 'right', cell: (row) => (row.ns === null ? '' : `${rateInWords(1e9 / row.ns.median)}/s`) });
  if (rows.some((row) => row.gbPerSecond !== null)) columns.push({ head: 'GB/s', align: 'right', cell: (row) => (row.gbPerSecond === null ? '' : digits(row.gbPerSecond)) });
  for (const peer of rows[0]?.against ?? []) {
    columns.push({ head: `time/${peer}`, align: 'left', cell: (row) => (row.ratios[peer] === undefined ? '' : spread(row.ratios[peer])) });
  }
  for (const name of new Set(rows.flatMap((row) => Object.keys(row.sizes)))) {
    columns.push({ head: name, align: 'right', cell: (row) => (row.sizes[name] === undefined ? '' : bytesInWords(Math.round(row.sizes[name]))) });
  }
  return rows.some((row) => row.model !== null) ? [...columns, ...modelColumns()] : columns;
}

/** Exact values, apart from host time; once a workload. */
function modelColumns(): Column[] {
  const column = (title: string, value: (model: Model) => string): Column => ({
    head: title, align: 'right', cell: (row, isFirst) => (isFirst && row.model !== null ? value(row.model) : ''),
  });
  return [
    { head: '| modelled:', align: 'left', cell: () => '|' },
    column('leaves', ({ leaves }) => grouped(leaves)),
    column('table bytes', ({ tableBytes }) => bytesInWords(tableBytes)),
    column('entries', ({ entries }) => (entries === null ? '' : grouped(entries))),
  ];
}

function mustTable(musts: readonly Judgement[]): string {
  if (musts.length === 0) return '';
  const table = newTable(['left', 'left', 'left', 'left', 'left']);
  table.push(['musts', '', 'bound', 'measured', '']);
  for (const must of musts) {
    const bound = must.atLeast === undefined ? `at most ${quantity(must, must.atMost ?? 0)}` : `at least ${quantity(must, must.atLeast)}`;
    const verdict = must.holds === null ? `? ${must.reason}` : must.holds ? '✓' : '✗ missed';
    table.push([must.workload, quantityName(must), bound, must.measured === null ? '–' : `${must.isQuiet ? '' : '~'}${quantity(must, must.measured)}`, verdict]);
  }
  return table.toString();
}

function quantityName({ quantity: { kind, ...rest } }: Judgement): string {
  return 'peer' in rest ? `${kind} ${rest.peer}` : 'size' in rest ? rest.size : kind;
}

function quantity({ quantity: { kind } }: Judgement, value: number): string {
  switch (kind) {
    case 'time against':
    case 'speed over':
      return `${digits(value)} ×`;
    case 'per second':
      return `${rateInWords(value)}/s`;
    case 'ns':
      return `${digits(value / 1000)} µs`;
    case 'bytes':
      return bytesInWords(Math.round(value));
  }
}

function rateInWords(rate: number): string {
  return rate >= 1e6 ? `${digits(rate / 1e6)} M` : grouped(Math.round(rate));
}

function spread(rounds: QuietSpread): string {
  return `${middle(rounds)} (${digits(rounds.min)}..${digits(rounds.max)})`;
}

function middle({ median, isQuiet }: QuietSpread): string {
  return `${isQuiet ? '' : '~'}${digits(median)}`;
}

/** Three of them, never an exponent. */
function digits(value: number): string {
  return Math.abs(value) >= 1000 ? grouped(Math.round(value)) : value === 0 ? '0' : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
}

function newTable(colAligns: Align[]): Table.Table {
  return new Table({ chars: PLAIN, colAligns, style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true } });
}
