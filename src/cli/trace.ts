/** `daxmirror trace`: a recorded trace of memory accesses, carried out on DAX memory in pages of 4K, 2M and 1G. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { CPUS, CPU_NAMES, DEFAULT_CPU, cpuNamed } from '../costs/index.ts';
import { HmmError } from '../errno.ts';
import { Replay, TRACE_FORMATS, TraceError, type ReplayOptions, type TraceFormat } from '../memtrace/index.ts';
import { nearest } from '../nearest.ts';
import { LEVEL_SIZES, type PageSize } from '../units.ts';
import { BadInput, MisplacedInput } from './badInput.ts';
import { progressOn, type Progress } from './mirror/progress.ts';
import { paintFor } from './paint.ts';
import { PackError, openTrace, type TraceSource } from './trace/source.ts';
import { cpusText, progressText, rateText, reportJson, reportText, type TraceReport } from './trace/text.ts';

interface TraceFlags {
  readonly page: PageSize | 'all';
  readonly cpu: string;
  readonly through: 'cpu' | 'device';
  readonly format?: TraceFormat;
  readonly nested?: PageSize;
  readonly la57?: boolean;
  readonly fetches: boolean;
  readonly json?: boolean;
  readonly listCpus?: boolean;
}

const EXIT_BAD_INPUT = 2;
const EXIT_INTERRUPTED = 130;
/** How long it works before it looks at signals and the clock. */
const SLICE_MS = 40;
const PROGRESS_MS = 200;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const HELP = `
FILE is lackey text (valgrind --tool=lackey --trace-mem=yes), ChampSim's binary records, or plain lines 'ADDRESS r|w|x [BYTES]' with the
address in hexadecimal and # comments; as it is, or in gzip or xz (the latter by the xz program). - reads standard input. Format and packing
are told from the first bytes. A trace may be of any length: it is read as a stream, in constant memory.

The memory that the trace touches is laid on DAX files at its own addresses, GiB by GiB, once in pages of each size. An access goes through
the TLBs of the CPU; what they do not know is walked for, and what no table has is faulted in. Hits, walks and references are exact for the
modelled CPU; cycles are hits and references times a constant each, beyond what an L1 hit takes. --list-cpus has the numbers and whence.

Examples:
  daxmirror trace examples/ls.lackey.gz
  node examples/hashtable.mjs | daxmirror trace -
  valgrind --tool=lackey --trace-mem=yes --log-fd=3 ls 3>&1 >/dev/null | daxmirror trace - --cpu skylake
  xz -dc app.champsimtrace.xz | daxmirror trace - --page 2M --through device`;

export function traceCommand(): Command {
  return new Command('trace')
    .summary('carry out a recorded memory trace in pages of 4K, 2M and 1G')
    .description('Carries out a recorded memory trace in pages of 4K, 2M and 1G, and counts TLB hits, walks, references and faults of each.')
    .argument('[file]', 'the trace; - is standard input')
    .addOption(new Option('--page <SIZE>', 'one page size, or all side by side').choices([...LEVEL_SIZES, 'all']).default('all'))
    .addOption(new Option('--cpu <NAME>', 'whose TLBs (see --list-cpus)').argParser(cpuArgument).default(DEFAULT_CPU))
    .addOption(new Option('--through <WHO>', 'who accesses: the processor, or a device that mirrors the process').choices(['cpu', 'device']).default('cpu'))
    .addOption(new Option('--nested <SIZE>', 'the process runs in a guest whose host has pages of this size').choices(LEVEL_SIZES))
    .addOption(new Option('--la57', 'five levels of page tables'))
    .addOption(new Option('--format <NAME>', 'what FILE is (default: told from its first bytes)').choices(TRACE_FORMATS))
    .option('--no-fetches', 'leave out instruction fetches (a device has none)')
    .option('--json', 'print the report as JSON and nothing else')
    .option('--list-cpus', 'print the CPUs, their numbers and the source of each')
    .addHelpText('after', HELP)
    .action(async (file: string | undefined, flags: TraceFlags) => {
      process.exitCode = await trace(file, flags);
    });
}

function cpuArgument(name: string): string {
  if (cpuNamed(name) === undefined) throw new InvalidArgumentError(`unknown CPU ${nearest(name, CPU_NAMES)}; known: ${CPU_NAMES.join(', ')}.`);
  return name;
}

async function trace(file: string | undefined, flags: TraceFlags): Promise<number> {
  if (flags.listCpus === true) {
    process.stdout.write(flags.json === true ? `${JSON.stringify(CPUS, null, 2)}\n` : cpusText(CPUS, paintFor(process.stdout)));
    return 0;
  }
  if (file === undefined) throw new BadInput('trace: no file given (- is standard input; --help tells more)');
  if (file === '-' && process.stdin.isTTY === true) throw new BadInput('trace: standard input is a terminal: give a file, or a pipe');
  const source = await openTrace(file);
  try {
    return await carryOut(source, flags);
  } finally {
    source.close();
  }
}

async function carryOut(source: TraceSource, flags: TraceFlags): Promise<number> {
  const options: ReplayOptions = {
    pages: flags.page === 'all' ? LEVEL_SIZES : [flags.page],
    through: flags.through,
    cpu: flags.cpu,
    withoutFetches: !flags.fetches || flags.through === 'device',
    la57: flags.la57 === true,
    ...(flags.nested === undefined ? {} : { nested: flags.nested }),
    ...(flags.format === undefined ? {} : { format: flags.format }),
  };
  using replay = await Replay.create(source, options);
  const progress = progressOn(process.stderr, flags.json !== true);
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const end = await drive(replay, source, progress);
  progress.clear();
  const { user, system } = process.cpuUsage(startCpu);
  const report: TraceReport = {
    file: source.name, packed: source.packed, format: replay.decoder.format, through: replay.through, cpu: replay.cpu, nested: flags.nested ?? null, levels: flags.la57 === true ? 5 : 4,
    partial: end === null ? null : end.why, accesses: replay.accesses, counts: replay.counts, sizes: replay.results, elapsedMs: performance.now() - startMs, cpuMs: (user + system) / 1000,
  };
  if (flags.json === true) process.stdout.write(reportJson(report));
  else if (replay.accesses > 0) process.stdout.write(reportText(report, paintFor(process.stdout)));
  if (flags.json !== true && process.stderr.isTTY === true) process.stderr.write(`${paintFor(process.stderr).dim(rateText(report))}\n`);
  if (end === null) return 0;
  if (end.error !== null) throw end.error;
  return EXIT_INTERRUPTED;
}

/** Why a trace was not carried out to its end; `error` is null where the user stopped it. */
interface Cut {
  readonly why: string;
  readonly error: BadInput | null;
}

async function drive(replay: Replay, source: TraceSource, progress: Progress): Promise<Cut | null> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const aborted = new Promise<'aborted'>((resolve) => interrupt.signal.addEventListener('abort', () => resolve('aborted')));
  const startMs = performance.now();
  let shownMs = startMs;
  try {
    for (let sliceMs = startMs; ; ) {
      // A pipe may say nothing for a long time: the signal is heard meanwhile.
      const going = await Promise.race([replay.step(), aborted]);
      if (going === false) return null;
      const nowMs = performance.now();
      if (nowMs - sliceMs > SLICE_MS) {
        sliceMs = nowMs;
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (going === 'aborted' || interrupt.signal.aborted) return { why: `interrupted after ${replay.counts.lines} lines`, error: null };
      if (nowMs - shownMs > PROGRESS_MS) {
        shownMs = nowMs;
        progress.show(progressText(replay.accesses, source.position, source.size, nowMs - startMs));
      }
    }
  } catch (error) {
    return cutBy(error, replay, source);
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/** What stopped it, in words that say where. What is no fault of the input is thrown on. */
function cutBy(error: unknown, replay: Replay, source: TraceSource): Cut {
  const { lines } = replay.counts;
  if (error instanceof TraceError) {
    if (error.line === 0) return { why: error.message, error: new BadInput(`${source.name}: ${error.message}`) };
    const where = replay.decoder.format === 'champsim' ? `record ${error.line}` : `${error.line}:${error.column}`;
    const line = `${source.name}:${replay.decoder.format === 'champsim' ? ` ${where}` : where}: ${error.message}`;
    return { why: `${where}: ${error.message}`, error: new MisplacedInput(line) };
  }
  if (error instanceof PackError) return { why: error.message, error: new BadInput(`${source.name}: ${error.message}, after line ${lines}`) };
  if (error instanceof BadInput) return { why: error.message, error };
  if (HmmError.is(error)) return { why: error.message, error: new BadInput(`${source.name}: ${error.message} (after line ${lines})`, EXIT_BAD_INPUT) };
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return { why: code, error: new BadInput(`${source.name}: ${code}, after line ${lines}`) };
  throw error;
}
