/** What `daxmirror trace` prints. */
import Table from 'cli-table3';
import { ACCESS_KINDS, coldReferences, type Cpu, type Source } from '../../costs/index.ts';
import type { SizeResult, TraceCounts, TraceFormat } from '../../memtrace/index.ts';
import { LEVEL_SIZES, type PageSize } from '../../units.ts';
import type { Paint } from '../paint.ts';
import { bytesInWords, counted, grouped } from '../words.ts';

export interface TraceReport {
  readonly file: string;
  readonly packed: string | null;
  readonly format: TraceFormat | null;
  readonly through: 'cpu' | 'device';
  readonly cpu: Cpu;
  readonly nested: PageSize | null;
  readonly levels: 4 | 5;
  /** why it does not go to the end of the trace; null where it does */
  readonly partial: string | null;
  readonly accesses: number;
  readonly counts: Readonly<TraceCounts>;
  readonly sizes: readonly SizeResult[];
  readonly elapsedMs: number;
  readonly cpuMs: number;
}

export const TRACE_SCHEMA = 'daxmirror-trace';
export const TRACE_VERSION = 1;

const PLAIN = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '  ', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};
const BAR_CELLS = 24;
const FORMATS: Readonly<Record<TraceFormat, string>> = { lackey: 'lackey text', plain: 'plain text', champsim: 'ChampSim records' };

export function reportJson({ cpu, sizes, ...rest }: TraceReport): string {
  return `${JSON.stringify({ schema: TRACE_SCHEMA, version: TRACE_VERSION, ...rest, cpu: cpu.name, l2HitCycles: cpu.l2Hit.cycles, referenceCycles: cpu.reference.cycles, sizes }, null, 2)}\n`;
}

export function reportText(report: TraceReport, paint: Paint): string {
  const { partial, sizes } = report;
  const table = new Table({ chars: PLAIN, style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }, colAligns: ['left', ...sizes.map(() => 'right' as const)] });
  table.push(['', ...sizes.map(({ page }) => page)], ...rowsOf(report).map(([name, cell]) => [name, ...sizes.map((size) => cell(size))]));
  const lines = table.toString().split('\n').map((line) => line.trimEnd());
  const title = partial === null ? [] : [paint.bad(`PARTIAL RESULTS: ${partial}`)];
  return `${[...title, ...headLines(report), '', ...lines].join('\n')}\n`;
}

function headLines({ file, packed, format, through, cpu, nested, levels, accesses, counts }: TraceReport): string[] {
  const { fetches, loads, stores, modifies } = counts;
  const kinds = [[fetches, 'fetch', 'fetches'], [loads, 'load', 'loads'], [stores, 'store', 'stores'], [modifies, 'modify', 'modifies']] as const;
  const parts = kinds.filter(([n]) => n > 0).map(([n, one, many]) => counted(n, one, many));
  const tables = levels === 5 ? ', five levels' : '';
  const host = nested === null ? '' : `, in a guest on a host with ${nested} pages`;
  return [
    `${file}: ${format === null ? '' : FORMATS[format]}${packed === null ? '' : ` in ${packed}`}, ${counted(counts.lines, format === 'champsim' ? 'record' : 'line')}: ${parts.join(', ')}`,
    `  ${counted(accesses, 'access')} to pages, by ${through === 'cpu' ? 'the processor' : 'a device that mirrors the process'}, TLBs of ${cpu.title}${tables}${host}`,
  ];
}

type Row = readonly [name: string, cell: (size: SizeResult) => string];

function rowsOf({ sizes, through, cpu, accesses, nested, levels }: TraceReport): Row[] {
  const faults = LEVEL_SIZES.filter((page) => sizes.some((size) => size.faults[page] > 0));
  const has = (pick: (size: SizeResult) => number): boolean => sizes.some((size) => pick(size) > 0);
  const host = nested === null ? {} : { host: { page: nested } };
  return [
    ['L1 TLB hits', ({ costs }) => share(costs.l1Hits, accesses)],
    ['L2 TLB hits', ({ costs }) => grouped(costs.l2Hits)],
    ['walks', ({ costs }) => grouped(costs.walks)],
    ['  of 1000 accesses', ({ costs }) => ratio(costs.walks * 1000, accesses)],
    ['references', ({ costs }) => grouped(costs.references)],
    ['  a walk', ({ costs }) => ratio(costs.references, costs.walks)],
    ['  a cold walk', ({ page }) => String(coldReferences({ page, levels, ...host }))],
    ['cycles beyond L1 hits', ({ costs }) => grouped(costs.cycles)],
    [`  an access (${cpu.l2Hit.cycles} an L2 hit, ${cpu.reference.cycles} a reference)`, ({ costs }) => ratio(costs.cycles, accesses)],
    ...faults.map((page): Row => [`faults that map ${page}`, (size) => grouped(size.faults[page])]),
    ...(has(({ writeFaults }) => writeFaults) ? [['faults for the right to write', (size) => grouped(size.writeFaults)] as Row] : []),
    ...(through === 'device' ? [['  taken by the process for it', (size) => grouped(size.cpuFaults)] as Row] : []),
    ...(has(({ costs }) => costs.invalidations.dropped) ? [['TLB entries invalidated', ({ costs }) => grouped(costs.invalidations.dropped)] as Row] : []),
    ['memory mapped', (size) => bytesInWords(size.mappedBytes)],
    ['page tables', (size) => bytesInWords(size.tableBytes)],
  ];
}

/** The CPUs with every number and where it is from. */
export function cpusText(cpus: readonly Cpu[], paint: Paint): string {
  return cpus.map((cpu) => `${paint.strong(cpu.name)}  ${cpu.title}\n${cpuLines(cpu).map((line) => `  ${line}\n`).join('')}`).join('\n');
}

function cpuLines({ tlbs, structures, l2Hit, reference }: Cpu): string[] {
  const rows = [
    ...tlbs.map(({ stage, name, sizes, kinds, entries, ways, smash, source }) => [`L${stage}`, name, `${entries}, ${waysWords(entries, ways)}`, `${sizes.join(' ')}${smash === true ? ' (1G as 2M)' : ''}`, kinds.length === ACCESS_KINDS.length ? 'all' : kinds.join(' '), sourceWords(source)]),
    ...structures.map(({ name, entries, ways, source }) => ['', `${name} cache`, `${entries}, ${waysWords(entries, ways)}`, '', '', sourceWords(source)]),
    ['', 'L2 hit', `${l2Hit.cycles} cycles`, '', '', sourceWords(l2Hit.source)],
    ['', 'reference', `${reference.cycles} cycles`, '', '', sourceWords(reference.source)],
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd());
}

function waysWords(entries: number, ways: number): string {
  return entries === ways ? 'fully associative' : `${ways}-way`;
}

function sourceWords({ trust, text }: Source): string {
  return `${trust}: ${text}`;
}

/** `[######          ] 25 %  12.3 M accesses, 21.5 M/s` */
export function progressText(accesses: number, position: number, size: number | null, elapsedMs: number): string {
  const done = size === null || size === 0 ? null : Math.min(1, position / size);
  const bar = done === null ? '' : `[${'#'.repeat(Math.round(done * BAR_CELLS)).padEnd(BAR_CELLS)}] ${Math.floor(done * 100)} %  `;
  return `${bar}${counted(accesses, 'access')}, ${perSecond(accesses, elapsedMs)}/s`;
}

/** The rate of a run, for a terminal: host time, no result. */
export function rateText({ accesses, sizes, elapsedMs, cpuMs }: TraceReport): string {
  return `${counted(accesses, 'access')} at ${sizes.length === 1 ? 'one page size' : `${sizes.length} page sizes`} in ${(elapsedMs / 1000).toFixed(2)} s: ${perSecond(accesses, cpuMs)}/s of CPU time`;
}

function perSecond(count: number, ms: number): string {
  const rate = ms <= 0 ? 0 : (count / ms) * 1000;
  return rate >= 1e6 ? `${(rate / 1e6).toPrecision(3)} M` : grouped(Math.round(rate));
}

/** `99.73 %`, never 100 for less than all. */
function share(part: number, whole: number): string {
  if (whole === 0) return '-';
  const percent = (part / whole) * 100;
  return `${percent >= 99.995 && part < whole ? '99.99' : percent.toFixed(2)} %`;
}

function ratio(a: number, b: number): string {
  return b === 0 ? '-' : Number((a / b).toPrecision(4)).toLocaleString('en-US', { maximumFractionDigits: 6 });
}
