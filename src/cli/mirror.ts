/** `daxmirror mirror`: the main job on one real file. Here: what may be asked for, and in what form the answer goes out. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { WASM_BUILDS, type WasmBuild } from '../arena/index.ts';
import type { PageSize } from '../index.ts';
import { DEVICE_BUGS, type BugSwitch } from '../profile/index.ts';
import { LEVEL_SIZES } from '../units.ts';
import { BadInput } from './badInput.ts';
import { API_NAMES, type ApiName, type MirrorReport } from './mirror/data.ts';
import { HostFile } from './mirror/host.ts';
import { runJob } from './mirror/job.ts';
import { progressOn } from './mirror/progress.ts';
import { printReport } from './mirror/report.ts';

interface MirrorFlags {
  readonly page?: PageSize;
  readonly api?: ApiName;
  readonly write?: boolean;
  readonly json?: boolean;
  readonly bug?: BugSwitch;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const HELP = `
For each page size and API: the file's bytes are put on simulated persistent memory, a process maps them, a device mirrors the
process, and while the file is written, write-protected, punched, truncated and unmapped the device must see exactly what the file
holds. FILE is only read: with the addon mapped private, without it read in.

--write maps FILE shared, so that what device and CPU write reaches it: up to seven short ranges (16 bytes at the start, the middle,
a third, the end; 8 at a quarter). They are put back before anything is taken away from the simulated file, whatever fails, and on
Ctrl-C; only a killed process leaves them. Its modification time changes. Punch and truncate never touch FILE.

--bug turns on a defect of the device, to show that the checks find it (exit code 1): ${DEVICE_BUGS.join(', ')}.

Environment: DAXMIRROR_WASM=${WASM_BUILDS.join('|')} picks the WASM build, DAXMIRROR_NATIVE=off leaves the addon out, NO_COLOR the colours.`;

export function mirrorCommand(): Command {
  return new Command('mirror')
    .summary('mirror a real file on a device, and check every byte and every step')
    .description('Mirrors a real file on a simulated device through page tables of 4K, 2M and 1G, and checks every byte and every step.')
    .argument('[FILE]', 'a regular file, only read (default: the Node executable that runs this)')
    .addOption(new Option('--page <SIZE>', 'one page size (default: all)').choices([...LEVEL_SIZES]))
    .addOption(new Option('--api <API>', 'one HMM API (default: both)').choices([...API_NAMES]))
    .option('--write', 'map FILE shared: writes reach it and are put back (needs the addon; see below)')
    .option('--json', 'print the report as JSON and nothing else')
    .addOption(new Option('--bug <NAME>', 'turn a bug switch on').choices([...DEVICE_BUGS]))
    .addHelpText('after', HELP)
    .action(async (file: string | undefined, flags: MirrorFlags) => {
      process.exitCode = (await mirror(file, flags)).passed ? 0 : 1;
    });
}

/** Runs the job and prints. Throws BadInput and what the job throws. */
async function mirror(file: string | undefined, flags: MirrorFlags): Promise<MirrorReport> {
  const { page, api, write = false, json = false, bug = null } = flags;
  if (write && file === undefined) throw new BadInput('--write needs a FILE');
  if (write && bug !== null) throw new BadInput('--write and --bug exclude each other: a broken device may write anywhere in FILE');
  const wasm = wantedBuild(process.env['DAXMIRROR_WASM']);
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  const progress = progressOn(process.stderr, !json);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  // Before the file is opened: from then on a signal must not end the process with something still to be put back.
  if (write) for (const signal of SIGNALS) process.on(signal, onSignal);
  let host: HostFile | null = null;
  try {
    host = new HostFile(file ?? process.execPath, write);
    const report = await runJob({
      host,
      pages: page === undefined ? LEVEL_SIZES : [page],
      apis: api === undefined ? API_NAMES : [api],
      bug,
      wasm,
      version,
      nowMs: () => performance.now(),
      onProgress: progress.show,
      signal: interrupt.signal,
    });
    progress.clear();
    if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    else printReport(report, process.stdout);
    return report;
  } finally {
    progress.clear();
    host?.close();
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

function wantedBuild(name: string | undefined): WasmBuild | null {
  if (name === undefined || name === '') return null;
  const build = WASM_BUILDS.find((known) => known === name);
  if (build === undefined) throw new BadInput(`DAXMIRROR_WASM is '${name}' (known: ${WASM_BUILDS.join(', ')})`);
  return build;
}
