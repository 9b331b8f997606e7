/** `daxmirror vmas --against-host`: random memory calls, answered by the model and by the running kernel. Here: what is asked for, and shown. */
import { release } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { createMachine } from '../api/machine.ts';
import { loadNative } from '../native/load.ts';
import { PROFILES, type ProfileName } from '../profile/index.ts';
import { BadInput } from './badInput.ts';
import { differenceOf, shrink, type Ask, type Found } from './vmas/compare.ts';
import { knownFor, withoutKnown } from './vmas/known.ts';
import { askHost, askModel } from './vmas/sides.ts';
import { randomSteps, stepText } from './vmas/steps.ts';

interface VmasFlags {
  readonly againstHost?: boolean;
  readonly ops: number;
  readonly seed: bigint;
  readonly profile?: ProfileName;
}

const STEPS_A_SEQUENCE = 24;
const DEFAULT_PROFILE: ProfileName = 'v6.12';

const HELP = `
Sequences of ${STEPS_A_SEQUENCE} calls (mmap, munmap, mprotect, mremap, madvise, fork and stores, on anonymous memory of 24 pages) are answered by the
model and by the running kernel, there in a child process. After each call errno, the areas of /proc/PID/maps and the first byte of
every page are compared; after a fork the child goes on, and in the end each parent's memory is compared too. The first difference
is shown with the shortest sequence that shows it. Exit code 1: they differ. Needs the addon and Linux on 4K pages.

Examples:
  daxmirror vmas --against-host
  daxmirror vmas --against-host --ops 24000 --seed 7`;

export function vmasCommand(): Command {
  return new Command('vmas')
    .summary('hold random memory calls against the running kernel')
    .description('Random memory calls, answered by the model and by the running kernel, and compared call by call.')
    .option('--against-host', 'the running kernel is asked (needs the addon)')
    .addOption(new Option('--ops <N>', 'how many calls').argParser(wholeNumber).default(2400))
    .addOption(new Option('--seed <S>', 'of the first sequence').argParser(seedNumber).default(1n, '1'))
    .addOption(new Option('--profile <NAME>', "which kernel is modelled (default: the running one's version where there is a profile of it, else v6.12)").choices(Object.keys(PROFILES)))
    .addHelpText('after', HELP)
    .action(async (flags: VmasFlags) => {
      process.exitCode = (await vmas(flags)) ? 0 : 1;
    });
}

/** False: the two differ. */
async function vmas({ againstHost, ops, seed, profile: asked }: VmasFlags): Promise<boolean> {
  if (againstHost !== true) throw new BadInput('vmas: nobody to compare with: give --against-host');
  if (process.platform !== 'linux') throw new BadInput(`vmas: the running kernel is asked on Linux only, and this is ${process.platform}`);
  const { native, reason } = loadNative();
  if (native === null) throw new BadInput(`vmas: needs the addon: ${reason}`);
  const kernel = release();
  const profile = asked ?? profileFor(kernel);
  const machine = await createMachine({ profile, arena: 64 * 2 ** 20, ram: 2 ** 25, native: 'off' });
  const known = knownFor(kernel);
  const ask: Ask = (steps) => {
    const model = askModel(machine, steps);
    // what is known to differ is no difference, and shrinking must not end there
    const excused = steps.some((step, i) => known.some(({ is }) => is(step, model[i]?.errno ?? '')));
    return { model, host: excused ? model : askHost(native, steps) };
  };
  let compared = 0;
  const sequences = Math.ceil(ops / STEPS_A_SEQUENCE);
  for (let i = 0; i < sequences; i++) {
    const drawn = randomSteps(seed + BigInt(i), Math.min(STEPS_A_SEQUENCE, ops - i * STEPS_A_SEQUENCE));
    const steps = withoutKnown(drawn, known, (some) => askModel(machine, some));
    compared += steps.length;
    const difference = differenceOf(ask, steps);
    if (difference === null) continue;
    process.stdout.write(foundText(shrink(ask, { steps, difference }), seed + BigInt(i), kernel, profile));
    return false;
  }
  process.stdout.write(`kernel ${kernel} and profile ${profile} agree on ${compared} calls in ${sequences} sequences, seed ${seed}; ${ops - compared} calls left out, as they are known to differ on this kernel\n`);
  return true;
}

function profileFor(kernel: string): ProfileName {
  const name = `v${kernel.split('.').slice(0, 2).join('.')}`;
  return Object.hasOwn(PROFILES, name) ? (name as ProfileName) : DEFAULT_PROFILE;
}

function foundText({ steps, difference: { at, what, model, host } }: Found, seed: bigint, kernel: string, profile: string): string {
  const lines = steps.map((step, i) => `${i === at ? '>' : ' '} ${stepText(step)}`);
  const where = at < steps.length ? 'after the call marked' : 'in a process that forked, in the end';
  return `kernel ${kernel} and profile ${profile} differ in ${what}, ${where} (seed ${seed}, ${steps.length} calls):\n${lines.join('\n')}\n  model:  ${model}\n  kernel: ${host}\n`;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,8}$/.test(text) || Number(text) < 1) throw new InvalidArgumentError('It is no whole number from 1 to 99999999.');
  return Number(text);
}

function seedNumber(text: string): bigint {
  if (!/^\d{1,18}$/.test(text)) throw new InvalidArgumentError('It is no whole number from 0 on.');
  return BigInt(text);
}
