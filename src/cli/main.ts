#!/usr/bin/env node
/**
 * The command line. Exit codes: 0 all held, 1 a check failed, 2 bad input; a failure is one line on stderr, never a stack trace.
 *
 * A command is a file beside this one that makes a `Command`; what they throw is judged here.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { HmmError } from '../errno.ts';
import { nearest } from '../nearest.ts';
import { BadInput, hostWords } from './badInput.ts';

const EXIT_FAILED = 1;
const EXIT_BAD_INPUT = 2;

/** A command's code is loaded where it is called, or where all of them are told of: one of them alone starts twice as fast. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  mirror: async () => (await import('./mirror.ts')).mirrorCommand(),
  run: async () => (await import('./run.ts')).runCommand(),
  bugs: async () => (await import('./bugs.ts')).bugsCommand(),
  fsx: async () => (await import('./fsx.ts')).fsxCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  trace: async () => (await import('./trace.ts')).traceCommand(),
  vmas: async () => (await import('./vmas.ts')).vmasCommand(),
  explore: async () => (await import('./explore.ts')).exploreCommand(),
};

async function newProgram(wanted: string | undefined): Promise<Command> {
  const { version, description } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string; description: string };
  const program = new Command('daxmirror')
    .description(description)
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .showSuggestionAfterError()
    .helpOption('-h, --help', 'show this help')
    .addHelpText('after', '\nExit codes: 0 every check held, 1 a check failed, 2 bad input.');
  const names = wanted !== undefined && Object.hasOwn(COMMANDS, wanted) ? [wanted] : Object.keys(COMMANDS);
  for (const name of names) program.addCommand((await (COMMANDS[name] as () => Promise<Command>)()).copyInheritedSettings(program));
  return program;
}

/** What commander says, as one line: `unknown option '--pge' (did you mean --page?)`; the nearest of an option's choices, too. */
function oneLine(message: string): string {
  return message
    .replace(/^error: /, '')
    .replace(/'([^']*)' is invalid\. Allowed choices are (.*)\.$/, (_, word: string, choices: string) => `${nearest(word, choices.split(', '))} is invalid. Allowed choices are ${choices}.`)
    .replace(/\s*\n\(Did you mean ([^)]*)\?\)\s*$/, ' (did you mean $1?)')
    .split('\n')
    .join(' ');
}

/** The exit code of a failure, and its line on stderr. */
function failed(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    complain(oneLine(error.message));
    return EXIT_BAD_INPUT;
  }
  if (error instanceof BadInput) {
    if (error.placed) process.stderr.write(`${error.message}\n`);
    else complain(error.message);
    return error.exitCode;
  }
  if (HmmError.is(error)) {
    complain(error.message.split('\n')[0] as string);
    return EXIT_BAD_INPUT;
  }
  complain(`unexpected: ${error instanceof Error ? `${error.name}: ${error.message.split('\n')[0]}` : String(error)}`);
  if (process.env['DAXMIRROR_TRACE'] === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return EXIT_FAILED;
}

function complain(line: string): void {
  process.stderr.write(`daxmirror: ${line}\n`);
}

async function main(argv: readonly string[]): Promise<void> {
  // A reader that goes away (`| head`) is no failure of ours; what it did not get, of a full disk, is told.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    complain(`standard output: ${hostWords(error)}`);
    process.exit(EXIT_BAD_INPUT);
  });
  try {
    if (argv.length === 0) throw new BadInput(`no command given (known: ${Object.keys(COMMANDS).join(', ')}; --help tells more)`);
    if (argv[0] === 'help' && argv[1] !== undefined && !Object.hasOwn(COMMANDS, argv[1])) throw new BadInput(`unknown command ${nearest(argv[1], Object.keys(COMMANDS))}`);
    const program = await newProgram(argv[0]);
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    process.exitCode = failed(error);
  }
}

await main(process.argv.slice(2));
