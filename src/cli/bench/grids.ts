/**
 * A report as grids of words, whatever they are shown as (text, Markdown, HTML): page sizes side by side, every row with its ratios and the modelled
 * values in columns of their own, the musts, a comparison with an older report.
 */
import type { Change, Judgement, Model, QuietSpread, Report, Row, Spread, Table as BenchTable, TableName } from '../../bench/index.ts';
import { LEVEL_SIZES } from '../../units.ts';
import { bytesInWords, grouped } from '../words.ts';

export type Align = 'left' | 'right';

export interface Grid {
  readonly columns: readonly { readonly head: string; readonly align: Align }[];
  readonly rows: readonly (readonly string[])[];
}

/** where the rate is the result */
const RATED: readonly TableName[] = ['populate', 'fault', 'trace'];

export function headLines({ host, date, quick, clocks, nativeReason, isWhole }: Report): string[] {
  const clockWords = clocks.map(({ kind, resolutionNs }) => `${kind} (steps of ${grouped(Math.round(resolutionNs))} ns)`);
  return [
    `daxmirror bench${quick ? ' --quick' : ''}, ${date}${isWhole ? '' : ', PARTIAL: the run ended before its last workload'}`,
    `  host    ${host.cpu}, ${host.cpus} CPUs, ${bytesInWords(host.memoryBytes)}, ${host.system}, Node.js ${host.node}`,
    `  clocks  ${clockWords.join(', ')}`,
    `  peers   ${nativeReason === null ? 'native addon' : `none: ${nativeReason}`}`,
    '  median (min..max) over rounds; time/X is the time of this row over that of X in the same round; null is the walker once more',
    '  rounds in which a neighbour had a share of this core are left out; ~ where too few would be left, and all count',
  ];
}

/** Workloads that differ in page size only, one a line; null where there are none. */
export function sideBySide({ tables }: Report): Grid | null {
  const bases = tables.flatMap(({ rows }) => rows.filter((row, i) => row.pageSize !== null && row.workload !== rows[i - 1]?.workload));
  const stems = new Map<string, Map<string, Row>>();
  for (const row of bases) {
    const stem = row.workload.replace(` ${row.pageSize}`, '');
    stems.set(stem, (stems.get(stem) ?? new Map<string, Row>()).set(row.pageSize as string, row));
  }
  const shared = [...stems].filter(([, rows]) => rows.size > 1);
  if (shared.length === 0) return null;
  return {
    columns: ['side by side', ...LEVEL_SIZES].map((head) => ({ head, align: 'left' })),
    rows: shared.map(([stem, rows]) => [stem, ...LEVEL_SIZES.map((size) => sideCell(rows.get(size)))]),
  };
}

function sideCell(row: Row | undefined): string {
  if (row === undefined) return '';
  if (row.ns === null) return row.status;
  const peer = row.against[0];
  const ratio = peer === undefined || peer === row.contender ? undefined : row.ratios[peer];
  return `${middle(row.ns)} ns/${row.unit}${ratio === undefined ? '' : `, ${middle(ratio)} × ${peer}`}`;
}

/** One grid for each clock, unit and set of peers that rows are compared with: the columns are theirs. */
export function gridsOf({ name, rows }: BenchTable): Grid[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = [row.clock, row.unit, ...row.against].join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map((group) => rowGrid(group, RATED.includes(name)));
}

/** A column of such a grid: its head, where it stands, and a row's cell. */
interface Column {
  readonly head: string;
  readonly align: Align;
  readonly cell: (row: Row, isFirst: boolean) => string;
}

function rowGrid(rows: readonly Row[], isRated: boolean): Grid {
  const columns = columnsOf(rows, isRated);
  return { columns, rows: rows.map((row, i) => columns.map(({ cell }) => cell(row, row.workload !== rows[i - 1]?.workload))) };
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
    { head: 'modelled:', align: 'left', cell: () => '' },
    column('leaves', ({ leaves }) => grouped(leaves)),
    column('table bytes', ({ tableBytes }) => bytesInWords(tableBytes)),
    column('entries', ({ entries }) => (entries === null ? '' : grouped(entries))),
  ];
}

/** Null where none of what was run has a must. */
export function mustGrid(musts: readonly Judgement[]): Grid | null {
  if (musts.length === 0) return null;
  return {
    columns: ['musts', '', 'bound', 'measured', ''].map((head) => ({ head, align: 'left' })),
    rows: musts.map((must) => {
      const bound = must.atLeast === undefined ? `at most ${quantity(must, must.atMost ?? 0)}` : `at least ${quantity(must, must.atLeast)}`;
      const verdict = must.holds === null ? `? ${must.reason}` : must.holds ? '✓' : '✗ missed';
      return [must.workload, quantityName(must), bound, must.measured === null ? '–' : `${must.isQuiet ? '' : '~'}${quantity(must, must.measured)}`, verdict];
    }),
  };
}

/** Rows that have no numbers, and why; null where all have. */
export function unmeasuredGrid({ tables }: Report): Grid | null {
  const rows = tables.flatMap((table) => table.rows.filter(({ status }) => status !== 'measured'));
  if (rows.length === 0) return null;
  const whys = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${row.contender}\n${row.status}\n${row.reason}`;
    whys.set(key, [...(whys.get(key) ?? []), row]);
  }
  return {
    columns: ['without a number', 'who', 'in'].map((head) => ({ head, align: 'left' })),
    rows: [...whys.values()].map((same) => [`${same[0]?.status}: ${same[0]?.reason}`, same[0]?.contender ?? '', same.length === 1 ? (same[0]?.workload ?? '') : `${same.length} workloads, first ${same[0]?.workload}`]),
  };
}

/** What changed since an older report. `now/old` below 1 is faster. */
export function changeGrid(changes: readonly Change[]): Grid {
  const cell = (value: Spread | null): string => (value === null ? '–' : `${digits(value.median)} (${digits(value.lower)}..${digits(value.upper)})`);
  return {
    columns: [
      { head: 'workload', align: 'left' }, { head: 'who', align: 'left' }, { head: 'by', align: 'left' }, { head: 'old', align: 'left' }, { head: 'now', align: 'left' },
      { head: 'now/old', align: 'left' }, { head: 'noise', align: 'right' }, { head: 'verdict', align: 'left' },
    ],
    rows: changes.map(({ workload, contender, by, old, now, ratio, noise, verdict }, i) => [
      workload === changes[i - 1]?.workload ? '' : workload, contender, by === 'ns' ? 'ns' : `time/${by.peer}`, cell(old), cell(now),
      ratio === null ? '' : `${digits(ratio.median)} (${digits(ratio.lower)}..${digits(ratio.upper)})`, `${digits(noise * 100)} %`, verdict,
    ]),
  };
}

/** `3 faster, 1 slower, 40 the same; 2 not measured` */
export function changeSummary(changes: readonly Change[]): string {
  const count = (verdict: Change['verdict']): number => changes.filter((change) => change.verdict === verdict).length;
  const rest = (['new', 'gone', 'not measured'] as const).map((verdict) => [count(verdict), verdict] as const).filter(([n]) => n > 0);
  return `${count('faster')} faster, ${count('slower')} slower, ${count('same')} the same${rest.length === 0 ? '' : `; ${rest.map(([n, verdict]) => `${n} ${verdict}`).join(', ')}`}`;
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

export function middle({ median, isQuiet }: QuietSpread): string {
  return `${isQuiet ? '' : '~'}${digits(median)}`;
}

/** Three of them, never an exponent. */
export function digits(value: number): string {
  return Math.abs(value) >= 1000 ? grouped(Math.round(value)) : value === 0 ? '0' : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
}
