/** What a run of the exerciser came to, for people and as JSON. */
import { logText, type FsxFinding, type FsxResult, type Layout } from '../../fsx/index.ts';
import { fieldInWords } from '../../profile/index.ts';
import type { Paint } from '../paint.ts';
import { bytesInWords, counted, grouped, listLines } from '../words.ts';
import { replayString } from './replay.ts';

const REPLAY_CHARACTERS_MAX = 600;
/** a longer log is not for reading */
const LOG_LINES_MAX = 500;

/** who carries out the accesses of a log where nobody said */
export const AS_LOGGED = 'as in the log';

export interface RunInfo {
  readonly layout: Layout;
  readonly seed: number;
  readonly accessor: string;
  readonly bug: string | null;
  readonly check: boolean;
  readonly elapsedMs: number;
  /** resident memory at its largest */
  readonly rssBytes: number;
  /** the command that comes to the failure again; '' where there is none */
  readonly again: string;
  /** the log that was replayed */
  readonly replayed: string | null;
}

export function reportText(result: FsxResult, info: RunInfo, paint: Paint): string {
  const { layout, seed, accessor, bug, check, replayed, elapsedMs } = info;
  const { fs, profile, page, fileBytes, files, processes } = layout;
  const head = [
    `${fs} of ${profile}`, `${counted(files, 'file')} up to ${bytesInWords(fileBytes)}`, counted(processes, 'process'), accessor === AS_LOGGED ? `mapped accesses ${accessor}` : `mapped accesses by ${accessor}`,
    ...(page === 'any' ? [] : [`pages of ${page}`]), replayed === null ? `seed ${seed}` : `log ${replayed}`, ...(bug === null ? [] : [`bug ${bug}`]), ...(check ? ['rules checked'] : []),
    ...(layout.power === 'off' ? [] : [layout.power === 'adr' ? 'caches volatile' : 'caches durable']),
  ];
  const done = `${grouped(result.operations)} operations, ${grouped(result.skipped)} of them passed over`;
  const speed = `${(elapsedMs / 1000).toFixed(1)} s, ${grouped(Math.round(result.operations / (elapsedMs / 1000)))} a second`;
  const lines = [paint.dim(head.join(', '))];
  if (result.failure !== null) lines.push(...failureLines(result.failure, info, paint));
  else lines.push(`${paint.good('✓')} ${done}, in ${speed}`, ...listed('  operations:', result.counts, paint), ...listed('  mapped accesses:', result.accesses, paint), ...cutLines(result.cuts, paint));
  return `${lines.join('\n')}\n`;
}

function cutLines(cuts: FsxResult['cuts'], paint: Paint): string[] {
  if (cuts === null) return [];
  const { cuts: times, points, images, linesLost, recordsLost } = cuts;
  const what = [...(times > 0 ? [counted(times, 'power cut')] : []), ...(points > 0 ? [counted(points, 'moment')] : [])];
  return [`${paint.good('✓')} ${what.length === 0 ? 'no power cut' : what.join(', ')}, ${counted(images, 'image')} looked at: ${counted(linesLost, 'cache line')} and ${counted(recordsLost, 'change')} of metadata lost, nothing of what was durable`];
}

function failureLines(failure: FsxFinding, { layout, bug, check, again }: RunInfo, paint: Paint): string[] {
  const { kind, what, at, shrunk, shrunkWhat, shrinkRuns, shrunkWhole, fields } = failure;
  const command = ['daxmirror fsx', ...(bug === null ? [] : [`--bug ${bug}`]), ...(check ? ['--check'] : []), '--replay-ops -'].join(' ');
  const head = [`${paint.bad('✗')} operation ${grouped(at)}: ${kind}`, `  ${what.split('\n').join('\n  ')}`];
  if (shrunk.length > LOG_LINES_MAX) return [...head, `  not cut down any further than to ${grouped(shrunk.length)} operations, in ${counted(shrinkRuns, 'run')}. To see it again:`, again];
  return [
    ...head,
    ...(fields.length === 0 ? [] : [`  known: this kernel does so (${fields.map((field) => knownWords(field)).join(', or ')} it does not)`]),
    `  ${shrunkWhole ? 'the fewest operations' : 'fewer operations'} that fail so, found in ${counted(shrinkRuns, 'run')}: ${shrunk.length}. ${shrunkWhat === what ? 'To replay' : 'They say'}:`,
    ...(shrunkWhat === what ? [] : [`  ${shrunkWhat.split('\n').join('\n  ')}`, '  To replay:']),
    ...inOneLine(command, logText(layout, shrunk)),
    `${command} <<'END'`,
    `${logText(layout, shrunk)}END`,
  ];
}

/** A bug that the kernel has, or a field of its profile. */
function knownWords(field: string): string {
  const name = fieldInWords(field);
  return name.startsWith('bug ') ? `without its ${name}` : `with profile field ${name}${name === field ? '' : ','} otherwise`;
}

/** The same as a command of one line, where that is no longer than people like to copy. */
function inOneLine(command: string, log: string): string[] {
  const string = replayString(log);
  return string.length > REPLAY_CHARACTERS_MAX ? [] : [command.replace('--replay-ops -', `--replay ${string}`), 'or, to read:'];
}

export function reportJson(result: FsxResult, { layout, seed, accessor, bug, check, elapsedMs, rssBytes, again, replayed }: RunInfo): string {
  const { passed, interrupted, operations, skipped, counts, accesses, cuts, failure } = result;
  const found = failure === null ? null : {
    kind: failure.kind, what: failure.what, at: failure.at, fields: failure.fields, again,
    shrunk: { operations: failure.shrunk.length, what: failure.shrunkWhat, runs: failure.shrinkRuns, whole: failure.shrunkWhole, replay: replayString(logText(layout, failure.shrunk)), log: logText(layout, failure.shrunk) },
  };
  return `${JSON.stringify({ passed, interrupted, seed, accessor, bug, check, replayed, layout, operations, skipped, counts, accesses, cuts, elapsedMs: Math.round(elapsedMs), rssBytes, failure: found }, null, 2)}\n`;
}

/** Lines, or none where nothing was counted. */
function listed(head: string, counts: Readonly<Partial<Record<string, number>>>, paint: Paint): string[] {
  const entries = Object.entries(counts).toSorted(([, a = 0], [, b = 0]) => b - a);
  return entries.length === 0 ? [] : listLines(head, entries.map(([name, n = 0]) => `${name} ${grouped(n)}`)).map((line) => paint.dim(line));
}
