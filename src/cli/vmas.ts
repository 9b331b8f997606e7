/** `daxmirror vmas --against-host`: random memory calls, answered by the model and by the running kernel. Here: what is asked for, and shown. */
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MachineCore } from '../machine.ts';
import { loadNative, type Native } from '../native/load.ts';
import { PROFILES, type ProfileName } from '../profile/index.ts';
import { nearest } from '../scenario/index.ts';
import { BadInput } from './badInput.ts';
import { seedNumber, wholeNumber } from './numbers.ts';
import { differenceOf, shrink, type Ask, type Found } from './vmas/compare.ts';
import { hostOf, knownFor, profileOn, withoutKnown, type Known } from './vmas/known.ts';
import { askHost, askModel, lockedPagesMax } from './vmas/sides.ts';
import { AREA_PAGES, FAMILIES, FAMILY_NAMES, FILE_PAGES, randomSteps, stepText, type FamilyName } from './vmas/steps.ts';

interface VmasFlags {
  readonly againstHost?: boolean;
  readonly family?: readonly FamilyName[];
  readonly ops: number;
  readonly seed: bigint;
  readonly profile?: ProfileName;
}

/** Both sides of a run. */
interface Sides {
  readonly native: Native;
  readonly core: MachineCore;
  readonly kernel: string;
  readonly profile: ProfileName;
  readonly known: readonly Known[];
  /** ` --profile NAME`, where it was asked for */
  readonly asked: string;
}

const STEPS_A_SEQUENCE = 24;
const DEFAULT_PROFILE: ProfileName = 'v6.12';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const HELP = `
Sequences of ${STEPS_A_SEQUENCE} calls are answered by the model and by the running kernel, there in a child process, in ${AREA_PAGES} pages where nothing else
lies. After each call errno, the areas of /proc/PID/maps and the first byte of every page are compared; after a fork the child goes
on, and in the end each parent's memory is compared too. The first difference is shown with the shortest sequence that shows it.
Exit code 1: they differ; 130: interrupted, and how to go on is shown. Needs the addon and Linux on 4K pages.

All sequences draw mmap (fixed, noreplace), munmap, mprotect, mremap (in place, fixed, dontunmap, old length 0), madvise, fork and
stores, lengths of no page included. Families:
${FAMILY_NAMES.map((name) => `  ${name.padEnd(8)} ${FAMILIES[name].about}`).join('\n')}
The file is a memfd of ${FILE_PAGES} pages.

Examples:
  daxmirror vmas --against-host
  daxmirror vmas --against-host --family file,locked --ops 24000 --seed 7`;

export function vmasCommand(): Command {
  return new Command('vmas')
    .summary('hold random memory calls against the running kernel')
    .description('Random memory calls, answered by the model and by the running kernel, and compared call by call.')
    .option('--against-host', 'the running kernel is asked (needs the addon)')
    .option('--family <NAMES>', 'which sequences, with commas between (default: all, in turn)', familyNames)
    .addOption(new Option('--ops <N>', 'how many calls').argParser(wholeNumber(1, 1e9)).default(2400))
    .addOption(new Option('--seed <S>', 'of the first sequence').argParser(seedNumber).default(1n, '1'))
    .addOption(new Option('--profile <NAME>', "which kernel is modelled (default: the running one's version where there is a profile of it, else v6.12)").choices(Object.keys(PROFILES)))
    .addHelpText('after', HELP)
    .action(async (flags: VmasFlags) => {
      process.exitCode = await vmas(flags);
    });
}

/** The exit code. */
async function vmas({ againstHost, family, ops, seed, profile }: VmasFlags): Promise<number> {
  if (againstHost !== true) throw new BadInput('vmas: nobody to compare with: give --against-host');
  const sides = await sidesFor(profile);
  const families = family ?? FAMILY_NAMES.filter((name) => name !== 'locked' || lockedPagesMax() >= AREA_PAGES);
  if (families.includes('locked') && lockedPagesMax() < AREA_PAGES) throw new BadInput(`vmas: the family locked needs leave to lock ${AREA_PAGES * 4}K (ulimit -l)`);
  if (family === undefined && families.length < FAMILY_NAMES.length) process.stdout.write(`the family locked is left out: it needs leave to lock ${AREA_PAGES * 4}K (ulimit -l)\n`);
  const sequences = Math.ceil(ops / STEPS_A_SEQUENCE);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  let compared = 0;
  try {
    for (let i = 0; i < sequences; i++) {
      await setImmediate(); // signals are heard here
      const at = seed + BigInt(i);
      if (interrupt.signal.aborted) {
        const left = `daxmirror vmas --against-host${family === undefined ? '' : ` --family ${families.join(',')}`}${sides.asked} --ops ${ops - i * STEPS_A_SEQUENCE} --seed ${at}`;
        process.stdout.write(`interrupted: ${agreedText(sides, compared, i, seed)}\nto go on: ${left}\n`);
        return 130;
      }
      // by the seed alone, so that a seed is one sequence of one family wherever a run begins
      const drawn = families[Number(at % BigInt(families.length))] as FamilyName;
      const outcome = compare(sides, at, Math.min(STEPS_A_SEQUENCE, ops - i * STEPS_A_SEQUENCE), drawn);
      if (typeof outcome === 'number') {
        compared += outcome;
        continue;
      }
      process.stdout.write(foundText(outcome, at, drawn, sides));
      return 1;
    }
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
  process.stdout.write(`${agreedText(sides, compared, sequences, seed)} (${families.join(', ')}); ${ops - compared} calls left out, as they are known to differ on this kernel\n`);
  return 0;
}

async function sidesFor(asked: ProfileName | undefined): Promise<Sides> {
  if (process.platform !== 'linux') throw new BadInput(`vmas: the running kernel is asked on Linux only, and this is ${process.platform}`);
  const { native, reason } = loadNative();
  if (native === null) throw new BadInput(`vmas: needs the addon: ${reason}`);
  const kernel = release();
  const profile = asked ?? profileFor(kernel);
  const host = hostOf(kernel, existsSync);
  const core = await MachineCore.create({ arena: { bytes: 64 * 2 ** 20 }, profile: asked === undefined ? profileOn(host, PROFILES[profile]) : PROFILES[profile], bugs: [], seed: 1n, ramPages: 8192, levels: 4 });
  return { native, core, kernel, profile, known: knownFor(host), asked: asked === undefined ? '' : ` --profile ${asked}` };
}

/** How many calls agree, or the difference. */
function compare({ native, core, known }: Sides, seed: bigint, count: number, family: FamilyName): number | Found {
  const ask: Ask = (steps) => {
    const model = askModel(core, steps);
    // what is known to differ is no difference, and shrinking must not end there
    const excused = steps.some((step, i) => known.some(({ is }) => is(step, model[i]?.errno ?? '')));
    return { model, host: excused ? model : askHost(native, steps) };
  };
  const steps = withoutKnown(randomSteps(seed, count, family), known, (some) => askModel(core, some));
  const difference = differenceOf(ask, steps);
  return difference === null ? steps.length : shrink(ask, { steps, difference });
}

function profileFor(kernel: string): ProfileName {
  const name = `v${kernel.split('.').slice(0, 2).join('.')}`;
  return Object.hasOwn(PROFILES, name) ? (name as ProfileName) : DEFAULT_PROFILE;
}

function agreedText({ kernel, profile }: Sides, calls: number, sequences: number, seed: bigint): string {
  return `kernel ${kernel} and profile ${profile} agree on ${calls} calls in ${sequences} sequences, seed ${seed}`;
}

function foundText({ steps, difference: { at, what, model, host } }: Found, seed: bigint, family: FamilyName, { kernel, profile, asked }: Sides): string {
  const lines = steps.map((step, i) => `${i === at ? '>' : ' '} ${stepText(step)}`);
  const where = at < steps.length ? 'after the call marked' : 'in a process that forked, in the end';
  const again = `again: daxmirror vmas --against-host --family ${family}${asked} --ops ${STEPS_A_SEQUENCE} --seed ${seed}`;
  return `kernel ${kernel} and profile ${profile} differ in ${what}, ${where} (seed ${seed}, ${steps.length} calls):\n${lines.join('\n')}\n  model:  ${model}\n  kernel: ${host}\n${again}\n`;
}

function familyNames(text: string): readonly FamilyName[] {
  const names = text.split(',');
  for (const name of names) if (!Object.hasOwn(FAMILIES, name)) throw new InvalidArgumentError(`There is no family ${nearest(name, FAMILY_NAMES)}; there are ${FAMILY_NAMES.join(', ')}.`);
  return names as readonly FamilyName[];
}
