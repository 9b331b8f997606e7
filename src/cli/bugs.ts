/** `daxmirror bugs`: the bug switches, what each does, and the release in which Linux got rid of it. */
import { Command } from 'commander';
import { BUGS, BUG_SWITCHES, type Bug, type BugSwitch } from '../profile/index.ts';
import { nearest } from '../scenario/index.ts';
import { BadInput } from './badInput.ts';

const HELP = `
A switch is turned on by \`daxmirror run --bug NAME\`, by \`createMachine({ bugs: ['NAME'] })\`, and those of a device by
\`daxmirror mirror --bug NAME\`. Those of what survives a power cut are found by \`daxmirror fsx --power-cut N --bug NAME\`.
Where Linux had the bug, the fix is named; the others are made on purpose, for the checks to catch.`;

export function bugsCommand(): Command {
  return new Command('bugs')
    .summary('list the bug switches: what each breaks, and when Linux was rid of it')
    .description('Lists the bug switches.')
    .option('--json', 'print them as JSON')
    .addHelpText('after', HELP)
    .action(({ json = false }: { json?: boolean }) => {
      process.stdout.write(json ? `${JSON.stringify(BUG_SWITCHES.map((name) => ({ name, ...BUGS[name] })), null, 1)}\n` : table());
    });
}

/** The switch of that name. Throws BadInput with the nearest one. */
export function bugNamed(name: string): BugSwitch {
  if (!Object.hasOwn(BUGS, name)) throw new BadInput(`no bug switch ${nearest(name, BUG_SWITCHES)}; \`daxmirror bugs\` lists them`);
  return name as BugSwitch;
}

function table(): string {
  const width = Math.max(...BUG_SWITCHES.map((name) => name.length)) + 2;
  const lines = BUG_SWITCHES.flatMap((name) => {
    const { what, fixedIn, subject }: Bug = BUGS[name];
    const fix = fixedIn === undefined ? [] : [`${' '.repeat(width)}fixed in ${fixedIn}: ${subject ?? ''}`];
    return [`${name.padEnd(width)}${what}`, ...fix];
  });
  return `${lines.join('\n')}\n`;
}
