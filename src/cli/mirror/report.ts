/** The report for people: what was mirrored, a table of the runs, the steps folded over them, what failed, a verdict. */
import Table from 'cli-table3';
import type { NotifierEvent, PageSize } from '../../index.ts';
import { paintFor, type Paint } from '../paint.ts';
import { bytesInWords, counted, grouped } from '../words.ts';
import type { MirrorReport, RunResult, StepResult } from './data.ts';
import { STEPS } from './steps.ts';

/** Columns apart by spaces; a line under the head. */
const PLAIN = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};

export function printReport(report: MirrorReport, stream: NodeJS.WriteStream): void {
  stream.write(`${reportText(report, paintFor(stream))}\n`);
}

function reportText(report: MirrorReport, paint: Paint): string {
  const parts = [...head(report), '', runTable(report, paint), '', stepTable(report, paint), '', ...findings(report, paint), verdict(report, paint)];
  return parts.join('\n').replace(/ +$/gm, '');
}

function head({ daxmirror, file, wasm, addonOff, profile, bug, arenaBytes }: MirrorReport): string[] {
  const how = { 'mapped private': 'mapped private', 'mapped shared': 'mapped shared: writes reach it', 'read in': 'read in' }[file.access];
  return [
    `daxmirror ${daxmirror}: a device mirrors a DAX file`,
    `  file     ${file.path}`,
    `           ${bytesInWords(file.bytes)}, SHA-256 ${file.sha256.slice(0, 16)}…, ${how}`,
    `  machine  profile ${profile}, WASM build ${wasm}, arena ${bytesInWords(arenaBytes)}${bug === null ? '' : `, bug ${bug}`}`,
    `  addon    ${addonOff === null ? 'used' : `off: ${addonOff}`}`,
  ];
}

function runTable({ runs }: MirrorReport, paint: Paint): string {
  const table = newTable(['left', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left']);
  table.push(['page', 'API', '4K pages', 'leaves', 'table bytes', 'faults', 'invalid.', 'fill ns/page', 'read GB/s', ''].map(paint.dim));
  for (const run of runs) {
    table.push([
      run.page,
      run.api,
      grouped(run.pages),
      bothOf(total(run.cpuLeaves), total(run.deviceLeaves), grouped),
      bothOf(run.cpuTableBytes, run.deviceTableBytes, bytesInWords),
      grouped(run.faults),
      grouped(run.invalidations),
      run.fillNs === 0 ? '' : grouped(run.fillNsPerPage),
      run.readNs === 0 ? '' : run.readGBPerSecond.toFixed(2),
      run.passed ? paint.good('✓') : paint.bad('✗ failed'),
    ]);
  }
  return table.toString();
}

/** A line a step, and a further one for each further kind of invalidation. Counts are a run's; `a/b` where the APIs differ. */
function stepTable({ runs }: MirrorReport, paint: Paint): string {
  const pages = [...new Set(runs.map((run) => run.page))];
  const table = newTable(['left', 'left', 'left', 'left', ...pages.map((): Align => 'right')]);
  table.push(['', 'step', '', 'invalidations', ...pages].map(paint.dim));
  for (const [i, { name, title }] of STEPS.entries()) {
    const results = runs.map((run) => run.steps[i] as StepResult);
    const events = [...new Set(results.flatMap((result) => result.invalidations.map(({ event }) => event)))];
    const sign = signOf(results, paint);
    const lines: readonly (NotifierEvent | '')[] = events.length === 0 ? [''] : events;
    for (const [nth, event] of lines.entries()) {
      const cells = pages.map((page) => countsOf(runs.filter((run) => run.page === page), i, event));
      table.push(nth === 0 ? [sign, name, title, event, ...cells] : ['', '', '', event, ...cells]);
    }
  }
  return table.toString();
}

function signOf(results: readonly StepResult[], paint: Paint): string {
  if (results.some(({ outcome }) => outcome === 'failed')) return paint.bad('✗');
  return results.some(({ outcome }) => outcome === 'passed') ? paint.good('✓') : paint.dim('–');
}

/** How many invalidations of a kind step `i` caused, in each API's run of one page size. */
function countsOf(runs: readonly RunResult[], i: number, event: NotifierEvent | ''): string {
  const counts = runs.map((run) => {
    const { outcome, invalidations } = run.steps[i] as StepResult;
    if (outcome === 'skipped') return '–';
    return event === '' ? '' : String(invalidations.filter((one) => one.event === event).length);
  });
  return new Set(counts).size === 1 ? (counts[0] as string) : counts.join('/');
}

function findings({ runs }: MirrorReport, paint: Paint): string[] {
  const lines = runs.flatMap((run) => run.steps.filter(({ seen }) => seen !== null).map(({ name, seen }) => `${paint.bad('✗')} ${run.page} ${run.api}, ${name}: ${seen}`));
  return lines.length === 0 ? [] : [...lines, ''];
}

function verdict({ runs, passed, elapsedNs }: MirrorReport, paint: Paint): string {
  const seconds = `${(elapsedNs / 1e9).toFixed(1)} s`;
  const steps = runs.reduce((sum, run) => sum + run.steps.length, 0);
  if (passed) return `${paint.good('✓')} ${counted(runs.length, 'run')}, ${steps} steps in ${seconds}: the device saw the file's bytes at every step, and no entry outlived its page.`;
  const failed = runs.filter((run) => !run.passed).length;
  return `${paint.bad('✗')} ${failed} of ${counted(runs.length, 'run')} failed (${seconds}).`;
}

type Align = 'left' | 'right' | 'center';

function newTable(colAligns: Align[]): Table.Table {
  return new Table({ chars: PLAIN, colAligns, style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true } });
}

function total(counts: Readonly<Record<PageSize, number>>): number {
  return counts['4K'] + counts['2M'] + counts['1G'];
}

/** What both tables have: once where it is the same, else `CPU/device`. */
function bothOf(cpu: number, device: number, inWords: (value: number) => string): string {
  return cpu === device ? inWords(cpu) : `${inWords(cpu)}/${inWords(device)}`;
}
