/** `daxmirror fsx`: the file system exerciser. Here: what may be asked for; what is told of it is fsx/report.ts. */
import { openSync, readFileSync, writeSync, closeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  ACCESSORS, DEFAULT_LAYOUT, DEFAULT_MIX, FILE_BYTES_MAX, LogError, LogWriter, PLACES_MAX, operationText, parseLog, runFsx, type AccessorName, type FsxResult, type Layout, type Mix,
  type Operation, type OperationLog, type OperationName,
} from '../fsx/index.ts';
import { PROFILES, type BugSwitch } from '../profile/index.ts';
import { BadInput, MisplacedInput, hostWords } from './badInput.ts';
import { bugNamed } from './bugs.ts';
import { goOn, upTo } from './fsx/again.ts';
import { addClassicOptions, classicMix, withoutOf, type ClassicFlags } from './fsx/classic.ts';
import { logInReplay } from './fsx/replay.ts';
import { AS_LOGGED, reportJson, reportText, type RunInfo } from './fsx/report.ts';
import { paintFor } from './paint.ts';
import { readText } from './run/files.ts';
import { bytesInWords, grouped } from './words.ts';

interface FsxFlags extends ClassicFlags {
  readonly ops?: number;
  readonly duration?: number;
  readonly seed: number;
  readonly accessor?: AccessorName | 'mixed';
  readonly fs?: Layout['fs'];
  readonly profile?: string;
  readonly page?: Layout['page'];
  readonly flen?: number;
  readonly oplen: number;
  readonly processes: number;
  readonly procs?: number;
  readonly files: number;
  readonly begin: number;
  readonly closeOpen: number;
  readonly beside: number;
  readonly readbdy: number;
  readonly writebdy: number;
  readonly truncbdy: number;
  readonly fixedLength?: boolean;
  readonly progress?: number;
  readonly quiet?: boolean;
  readonly bug?: BugSwitch;
  readonly check?: boolean;
  readonly powerCut?: number | 'all';
  readonly cutEvery?: number;
  readonly eadr?: boolean;
  readonly recordOps?: string;
  readonly replayOps?: string;
  readonly replay?: string;
  readonly json?: boolean;
}

const OPERATIONS = 100_000;
const LOG_BYTES_MAX = 2 ** 28;
const RECORD_CHUNK = 2 ** 16;
const RECORD_FILE = 'daxmirror.fsxops';
const EXIT_INTERRUPTED = 130;
const CUT_EVERY = 50;

const HELP = `
Reads, writes, truncates, punches, shifts and shares files at random, and loads and stores through mappings of them, by the processor,
by a device that mirrors the process (through the modern HMM API or that of 2019), by a guest of KVM, or mixed. What the files ought to
hold is kept beside them; every byte that is read is compared, and after every operation the size. Now and then an operation runs
beside a mapped read, one overtaking the other; or the process is unmapped, write-protected or forked first.

A log that fails is cut down to the fewest operations that still fail, and printed with the command that replays it.
Logs are the classic exerciser's (NAME OFFSET LENGTH [DEST] SIZE [keep_size] [close_open], also 'skip'): those of real file systems replay
here, and those recorded here there; what the classic one has not, stands in comments. The LOG DUMP that it prints when it fails replays, too, as mails
quote it. exchange_range is passed over, for want of kernels that have it.
With --power-cut the power fails now and then, in the middle of operations too: stores that were not flushed and fenced are lost or not, line by
line, changes of metadata are there up to any that was not committed, the machine comes up with that, and the run goes on. What fsync,
msync or a flush through a MAP_SYNC mapping made durable has to be there, and nothing that nobody stored.
Numbers may end in k, m, b (512) or w (4), as there. Seed 0 takes one from the clock.

Examples:
  daxmirror fsx --accessor mixed --check -N 20000
  daxmirror fsx --bug stale-pfn
  daxmirror fsx --accessor mixed --power-cut 1000
  daxmirror fsx --fs xfs --profile v6.12 --record-ops xfs.ops
  daxmirror fsx --replay-ops xfs.ops --accessor kvm`;

export function fsxCommand(): Command {
  const command = new Command('fsx')
    .summary('exercise a DAX file system, with a device doing the mapped accesses')
    .description('The file system exerciser, with a device doing the mapped accesses.')
    .usage('[options]')
    .argument('[FILE...]')
    .addOption(new Option('-N, --ops <N>', `operations to do; -1: without end (default: ${grouped(OPERATIONS)}; with --duration, or a log, as many as there are)`).argParser((text) => (text === '-1' ? Infinity : whole(0)(text))))
    .addOption(new Option('--duration <TIME>', 'stop after so long: 90, 90s, 60m, 8h').argParser(timeSpan))
    .addOption(new Option('-S, --seed <SEED>', 'of everything random').argParser(whole(0)).default(1))
    .addOption(new Option('--accessor <WHO>', 'who loads and stores (default: modern, or as the log says)').choices([...ACCESSORS, 'mixed']))
    .addOption(new Option('--fs <FS>', `file system (default: ${DEFAULT_LAYOUT.fs})`).choices(['ext4', 'xfs', 'xfsn']))
    .addOption(new Option('--profile <NAME>', `which kernel (default: ${DEFAULT_LAYOUT.profile})`).choices(Object.keys(PROFILES)))
    .addOption(new Option('--page <SIZE>', 'page table entries of any size (default), or of 4K alone').choices(['any', '4K']))
    .addOption(new Option('--processes <N>', 'processes that map the files').argParser(whole(1, PLACES_MAX)).default(1))
    .addOption(new Option('--procs <N>').argParser(whole(1, PLACES_MAX)).hideHelp())
    .addOption(new Option('--files <N>', 'files').argParser(whole(1, PLACES_MAX)).default(1))
    .addOption(new Option('-l, --flen <BYTES>', 'largest size of a file (default: 256k)').argParser(whole(1, FILE_BYTES_MAX)))
    .addOption(new Option('-o, --oplen <BYTES>', 'longest operation').argParser(whole(1, FILE_BYTES_MAX)).default(DEFAULT_MIX.operationBytes))
    .addOption(new Option('-O, --fixed-length', 'every operation is that long'))
    .addOption(new Option('-b, --begin <N>', 'first operation to carry out; those before are reckoned').argParser(whole(1)).default(1))
    .addOption(new Option('-c, --close-open <N>', 'one in N operations closes and opens its file; 0: none').argParser(whole(0)).default(DEFAULT_MIX.closeOpenEvery))
    .addOption(new Option('--beside <N>', 'one in N operations runs beside a mapped read; 0: none').argParser(whole(0)).default(DEFAULT_MIX.besideEvery))
    .addOption(new Option('-r, --readbdy <BYTES>', 'offsets of reads are multiples of it').argParser(whole(1)).default(1))
    .addOption(new Option('-w, --writebdy <BYTES>', 'of writes').argParser(whole(1)).default(1))
    .addOption(new Option('-t, --truncbdy <BYTES>', 'sizes of truncates').argParser(whole(1)).default(1))
    .option('--check', 'run the rules that hold of every mirror after every operation, too')
    .addOption(new Option('--power-cut <N>', 'let the power fail N times, and look at what is left; all: look at what would be left, at every moment').argParser(cuts))
    .addOption(new Option('--cut-every <N>', `operations between two power cuts, on average (default: ${CUT_EVERY}; with --ops, as many as come to N)`).argParser(whole(1)))
    .option('--eadr', 'the caches survive a power cut')
    .addOption(new Option('--bug <NAME>', 'turn a bug switch on, to see it found').argParser(bugNamed))
    .addOption(new Option('--record-ops [FILE]', `write a log of all operations (default: ${RECORD_FILE})`).preset(RECORD_FILE))
    .option('--replay-ops <FILE>', 'take the operations of a log; - reads it from standard input')
    .option('--replay <STRING>', 'take the operations of a string that a failed run has printed')
    .addOption(new Option('-p, --progress <N>', 'tell of every N-th operation').argParser(whole(1)))
    .option('-q, --quiet', 'print nothing where all is well')
    .option('--json', 'print the result as JSON and nothing else')
    .addHelpText('after', HELP)
    .action(async (files: readonly string[], flags: FsxFlags & Readonly<Record<string, unknown>>) => {
      const [file] = files;
      if (file !== undefined) throw new BadInput(`fsx ${file}: the files are made within (--files N); to replay a log: --replay-ops ${file}`);
      process.exitCode = await fsx({ ...flags, processes: flags.procs ?? flags.processes }, withoutOf(flags));
    });
  addClassicOptions(command, whole);
  return command;
}

async function fsx(flags: FsxFlags, without: readonly OperationName[]): Promise<number> {
  const log = logOf(flags);
  checkCuts(flags, log);
  const layout = layoutOf(flags, log);
  const mix = mixOf(flags, without);
  const { accessor, bug, recordOps } = flags;
  if (log !== null && accessor === 'mixed') throw new BadInput('--accessor mixed is no answer to who carries out the accesses of a log');
  if (log !== null && log.notModelled !== null && flags.quiet !== true) process.stderr.write(`${log.notModelled}: exchange_range is not modelled: it is passed over, here and wherever else it stands\n`);
  const cutsMax = typeof flags.powerCut === 'number' ? flags.powerCut : undefined;
  const operations = flags.ops ?? (flags.duration !== undefined || cutsMax !== undefined || log !== null ? Infinity : OPERATIONS);
  const recorder = recordOps === undefined ? null : new Recorder(recordOps, layout);
  const interrupt = new Interrupt(flags.duration);
  const talk = talkOf(flags);
  let number = flags.begin - 1;
  const hear = (operation: Operation): void => {
    recorder?.add(operation);
    talk?.(++number, operation);
  };
  const startMs = performance.now();
  let result: FsxResult;
  try {
    result = await runFsx({
      layout, mix, operations, begin: flags.begin, check: flags.check === true,
      ...(bug === undefined ? {} : { bugs: [bug] }),
      ...(log === null ? {} : { log: log.operations, trim: !log.ours }),
      care: { sizes: flags.sizeChecks !== false, contents: flags.checkFile === true },
      ...(cutsMax === undefined ? {} : { cutsMax }),
      ...(log === null || accessor === undefined || accessor === 'mixed' ? {} : { accessor }),
      pause: (done, phase) => interrupt.asked(done, phase, flags.progress),
      ...(recorder === null && talk === null ? {} : { onOperation: hear }),
    });
  } finally {
    interrupt.close();
    recorder?.close();
  }
  const { failure } = result;
  const again = failure === null ? '' : upTo(process.argv.slice(2), { seed: Number(mix.seed), at: failure.at, cutEvery: mix.cutEvery });
  const info: RunInfo = { layout, seed: Number(mix.seed), accessor: log === null ? mix.accessor : (accessor ?? AS_LOGGED), bug: bug ?? null, check: flags.check === true, elapsedMs: performance.now() - startMs, rssBytes: process.resourceUsage().maxRSS * 1024, again, replayed: flags.replayOps ?? (flags.replay === undefined ? null : 'of --replay') };
  const stopped = interrupt.signalled;
  if (flags.json === true) process.stdout.write(reportJson(result, info));
  else if (flags.quiet !== true || !result.passed || stopped) process.stdout.write(reportText(result, info, paintFor(process.stdout)));
  if (stopped && result.passed && flags.json !== true) process.stdout.write(`interrupted; to go on: ${goOn(process.argv.slice(2), Number(mix.seed), result.operations + 1)}\n`);
  if (!result.passed) return 1;
  return stopped ? EXIT_INTERRUPTED : 0;
}

/** What prints operations as they begin (-d, -D, -m); null: nothing does. */
function talkOf({ debug, debugFrom, monitor }: FsxFlags): ((number: number, operation: Operation) => void) | null {
  if (debug !== true && debugFrom === undefined && monitor === undefined) return null;
  const [start, end] = monitor ?? [0, Infinity];
  return (number, operation) => {
    const at = operation.name === 'truncate' ? operation.length : operation.offset;
    const touches = (at < end && at + operation.length > start) || (operation.dest < end && operation.dest + operation.length > start);
    if (number >= (debugFrom ?? 1) && (monitor === undefined || touches)) process.stderr.write(`${number} ${operation.skipped ? 'skip ' : ''}${operationText(operation)}\n`);
  };
}

function layoutOf(flags: FsxFlags, log: OperationLog | null): Layout {
  const base = log?.layout ?? { ...DEFAULT_LAYOUT, processes: flags.processes, files: flags.files };
  const { fs = base.fs, profile = base.profile, page = base.page, flen = base.fileBytes } = flags;
  if (log !== null && flags.flen !== undefined && flen < base.fileBytes) throw new BadInput(`--flen ${flen}: the log's files may have ${base.fileBytes} bytes`);
  const { powerCut } = flags;
  const power = flags.eadr === true ? 'eadr' : powerCut !== undefined && base.power === 'off' ? 'adr' : base.power;
  return { ...base, fs, profile, page, fileBytes: flen, power, everyPoint: powerCut === 'all' || base.everyPoint };
}

function mixOf(flags: FsxFlags, without: readonly OperationName[]): Mix {
  // The only use of the clock here: who asks for seed 0 is told which one it was.
  const seed = flags.seed === 0 ? 1 + (Date.now() % 1_000_000_007) : flags.seed;
  return {
    seed: BigInt(seed), accessor: flags.accessor ?? DEFAULT_MIX.accessor, operationBytes: flags.oplen, fixedLength: flags.fixedLength === true,
    readBoundary: flags.readbdy, writeBoundary: flags.writebdy, truncateBoundary: flags.truncbdy, closeOpenEvery: flags.closeOpen, besideEvery: flags.beside, cutEvery: cutEvery(flags), without,
    ...classicMix(flags),
  };
}

/** Operations between two cuts; 0: there are none. */
function cutEvery({ powerCut, cutEvery: every, ops }: FsxFlags): number {
  if (typeof powerCut !== 'number') return 0;
  return every ?? (ops === undefined || ops === Infinity ? CUT_EVERY : Math.max(1, Math.floor(ops / powerCut)));
}

function checkCuts({ powerCut, cutEvery: every, eadr }: FsxFlags, log: OperationLog | null): void {
  if (typeof powerCut === 'number' && log !== null) throw new BadInput('--power-cut N is for operations at random: a log has its own power cuts; --power-cut all looks at every moment of it');
  if (every !== undefined && typeof powerCut !== 'number') throw new BadInput('--cut-every is of --power-cut N');
  if (eadr === true && powerCut === undefined && (log === null || log.layout.power === 'off')) throw new BadInput('--eadr is of power cuts: --power-cut N or --power-cut all');
}

function logOf({ replayOps, replay }: FsxFlags): OperationLog | null {
  if (replay !== undefined && replayOps !== undefined) throw new BadInput('--replay and --replay-ops are two logs');
  if (replay === undefined) return replayOps === undefined ? null : readLog(replayOps);
  return parsed('--replay', logInReplay(replay));
}

function parsed(file: string, text: string): OperationLog {
  try {
    const log = parseLog(file, text);
    if (log.operations.length === 0) throw new BadInput(`${file}: not one operation`);
    return log;
  } catch (error) {
    throw error instanceof LogError ? new MisplacedInput(error.message) : error;
  }
}

function readLog(file: string): OperationLog {
  const text = file === '-' ? readFileSync(0, 'utf8') : readText(file, LOG_BYTES_MAX);
  return parsed(file === '-' ? 'standard input' : file, text);
}

/** Signals and time, looked at between stretches of operations. */
class Interrupt {
  signalled = false;
  readonly #startMs = performance.now();
  readonly #deadlineMs: number;
  #told = 0;
  /** The second one ends the program as if nobody listened. */
  readonly #onSignal = (): void => {
    this.signalled = true;
    this.close();
  };

  constructor(seconds: number | undefined) {
    this.#deadlineMs = seconds === undefined ? Infinity : performance.now() + seconds * 1000;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, this.#onSignal);
  }

  /** A failure is cut down also after the time is over. */
  async asked(done: number, phase: 'run' | 'shrink', every: number | undefined): Promise<boolean> {
    await setImmediate(); // signals are heard here
    const ms = performance.now();
    if (every !== undefined && phase === 'run' && done - this.#told >= every) {
      this.#told = done;
      process.stderr.write(`${grouped(done)} operations in ${Math.round((ms - this.#startMs) / 1000)} s, ${bytesInWords(process.memoryUsage.rss())}\n`);
    }
    return this.signalled || (phase === 'run' && ms >= this.#deadlineMs);
  }

  close(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.#onSignal);
  }
}

class Recorder {
  readonly #file: string;
  readonly #fd: number;
  readonly #writer = new LogWriter();
  #text: string;

  constructor(file: string, layout: Layout) {
    this.#file = file;
    this.#text = this.#writer.head(layout);
    try {
      this.#fd = openSync(file, 'w');
    } catch (error) {
      throw new BadInput(`${file}: ${hostWords(error)}`);
    }
  }

  add(operation: Parameters<LogWriter['lines']>[0]): void {
    this.#text += this.#writer.lines(operation);
    if (this.#text.length > RECORD_CHUNK) this.#flush();
  }

  close(): void {
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    try {
      writeSync(this.#fd, this.#text);
    } catch (error) {
      throw new BadInput(`${this.#file}: ${hostWords(error)}`);
    }
    this.#text = '';
  }
}

/** 4096, 0x1000, 4k */
function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const [, digits = '', unit = ''] = /^(0x[0-9a-f]+|\d+)([bkmw]?)$/i.exec(text) ?? [];
    const value = digits === '' ? NaN : Number(digits) * ({ b: 512, k: 1024, m: 2 ** 20, w: 4 }[unit.toLowerCase()] ?? 1);
    if (!(value >= least && value <= most)) throw new InvalidArgumentError(most === Number.MAX_SAFE_INTEGER ? `Not a whole number from ${least} on.` : `Not a whole number from ${least} to ${most}.`);
    return value;
  };
}

/** 90, 90s, 60m, 8h */
function timeSpan(text: string): number {
  const [, digits = '', unit = 's'] = /^(\d{1,9})([smh]?)$/i.exec(text) ?? [];
  const value = Number(digits) * ({ m: 60, h: 3600 }[unit.toLowerCase()] ?? 1);
  if (digits === '' || value < 1) throw new InvalidArgumentError('Not a time: 90 or 90s, 60m, 8h.');
  return value;
}

/** A number of power cuts, or all of them. */
function cuts(text: string): number | 'all' {
  if (text === 'all') return 'all';
  try {
    return whole(1)(text);
  } catch {
    throw new InvalidArgumentError("Neither a whole number from 1 on nor 'all'.");
  }
}
