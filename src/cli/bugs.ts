/** `daxmirror bugs`: the bug switches, what each does, the release in which Linux got rid of it, and how it is seen. */
import { Command } from 'commander';
import { BUGS, BUG_SHOWS, BUG_SWITCHES, showCommand, showFile, type Bug, type BugSwitch } from '../profile/index.ts';
import { nearest } from '../scenario/index.ts';
import { BadInput } from './badInput.ts';

const HELP = `
A switch is turned on by \`daxmirror run --bug NAME\`, by \`createMachine({ bugs: ['NAME'] })\`, and those of a device by
\`daxmirror mirror --bug NAME\`. Those of what survives a power cut are found by \`daxmirror fsx --power-cut N --bug NAME\`.
Where Linux had the bug, the fix is named; the others are made on purpose, for the checks to catch.

Examples:
  daxmirror bugs munmap-untold
  daxmirror bugs munmap-untold --file > munmap-untold.scn; daxmirror run munmap-untold.scn --bug munmap-untold`;

export function bugsCommand(): Command {
  return new Command('bugs')
    .summary('list the bug switches: what each breaks, and when Linux was rid of it')
    .description('Lists the bug switches.')
    .argument('[NAME]', 'one switch: how it is seen, too')
    .option('--file', 'print the scenario or op log that shows it, and nothing else')
    .option('--json', 'print them as JSON')
    .addHelpText('after', HELP)
    .action((name: string | undefined, flags: BugsFlags) => {
      process.stdout.write(bugs(name, flags));
    });
}

interface BugsFlags {
  readonly file?: boolean;
  readonly json?: boolean;
}

function bugs(name: string | undefined, { file = false, json = false }: BugsFlags): string {
  if (file) return fileOf(name);
  const shown = name === undefined ? BUG_SWITCHES : [bugNamed(name)];
  if (json) return `${JSON.stringify(shown.map((one) => ({ name: one, ...BUGS[one], rule: BUG_SHOWS[one].rule, command: showCommand(one) })), null, 1)}\n`;
  return name === undefined ? table() : oneSwitch(bugNamed(name));
}

/** Throws BadInput where the switch is shown without a file. */
function fileOf(name: string | undefined): string {
  if (name === undefined) throw new BadInput('--file needs the NAME of a switch');
  const bug = bugNamed(name);
  const text = showFile(BUG_SHOWS[bug]);
  if (text === null) throw new BadInput(`${bug} is shown without a file: ${showCommand(bug)}`);
  return text;
}

/** One switch, all there is to say. */
function oneSwitch(name: BugSwitch): string {
  const { what }: Bug = BUGS[name];
  const show = BUG_SHOWS[name];
  const file = showFile(show);
  const lines = [
    `${name}: ${what}`,
    ...fixOf(name).map((fix) => `  ${fix}`),
    `  ${caughtBy(name)}`,
    ...(file === null ? [] : [`  file:      daxmirror bugs ${name} --file > ${name}.${show.by === 'run' ? 'scn' : 'ops'}`]),
    `  see it:    ${showCommand(name)}`,
    ...(file === null ? [] : ['', ...file.trimEnd().split('\n').map((line) => `    ${line}`)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Where Linux had it: what took it away. */
function fixOf(name: BugSwitch): string[] {
  const { fixedIn, subject }: Bug = BUGS[name];
  if (fixedIn === undefined && subject === undefined) return [];
  return [`${fixedIn === undefined ? 'fixed by' : `fixed in ${fixedIn}`}: ${subject ?? ''}`];
}

/** The switch of that name. Throws BadInput with the nearest one. */
export function bugNamed(name: string): BugSwitch {
  if (!Object.hasOwn(BUGS, name)) throw new BadInput(`no bug switch ${nearest(name, BUG_SWITCHES)}; \`daxmirror bugs\` lists them`);
  return name as BugSwitch;
}

function caughtBy(name: BugSwitch): string {
  return `caught by ${BUG_SHOWS[name].rule}`;
}

function table(): string {
  const width = Math.max(...BUG_SWITCHES.map((name) => name.length)) + 2;
  const lines = BUG_SWITCHES.flatMap((name) => {
    const { what }: Bug = BUGS[name];
    const fix = fixOf(name).map((line) => ' '.repeat(width) + line);
    return [`${name.padEnd(width)}${what}`, ...fix, `${' '.repeat(width)}${caughtBy(name)}: ${showCommand(name)}`];
  });
  return `${lines.join('\n')}\n`;
}
