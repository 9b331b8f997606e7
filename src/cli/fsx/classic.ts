/** The classic exerciser's options: those that leave operations out, those that mean the same here, and those that mean nothing, with the reason. */
import { Option, type Command } from 'commander';
import type { Mix, OperationName } from '../../fsx/index.ts';
import { BadInput } from '../badInput.ts';

/** What leaves operations out. */
const WITHOUT: readonly (readonly [flags: string, key: string, without: readonly OperationName[]])[] = [
  ['-R, --no-mapread', 'mapread', ['mapread']],
  ['-W, --no-mapwrite', 'mapwrite', ['mapwrite']],
  ['-F, --no-fallocate', 'fallocate', ['fallocate']],
  ['-H, --no-punch', 'punch', ['punch_hole']],
  ['-z, --no-zero', 'zero', ['zero_range']],
  ['-C, --no-collapse', 'collapse', ['collapse_range']],
  ['-I, --no-insert', 'insert', ['insert_range']],
  ['-J, --no-clone', 'clone', ['clone_range']],
  ['-B, --no-dedupe', 'dedupe', ['dedupe_range']],
  ['-E, --no-copy', 'copy', ['copy_range']],
];

/** What it has, and this has not: letter, whether a value follows, why. */
const NOT_HERE: readonly (readonly [letter: string, value: boolean, why: string])[] = [
  ['a', false, 'a DAX device has no atomic writes to leave out'],
  ['e', true, 'what lies beyond the end of a file is looked at here by every mapread, and must be zero'],
  ['i', true, 'there is no dm-log-writes device in the model'],
  ['j', true, 'it names the messages of a dm-log-writes device, of which there is none'],
  ['k', false, 'no file outlives a run; --replay-ops begins with the operations of another'],
  ['A', false, 'system calls are carried out one after the other; --beside runs one beside a mapped read'],
  ['U', false, 'system calls are carried out one after the other; --beside runs one beside a mapped read'],
  ['P', true, 'nothing is written but by --record-ops, where it says'],
  ['T', false, 'a DAX file has no page cache for I/O to keep out of'],
  ['Z', false, 'I/O on a DAX file is direct as it is'],
  ['0', false, 'the kernels here have no exchange_range to leave out; logs with some replay without them'],
];

/** Keys of what the options below are parsed into. */
export interface ClassicFlags {
  readonly keepSize?: boolean;
  readonly unshare?: boolean;
  readonly lite?: boolean;
  readonly prealloc?: boolean;
  readonly sizeChecks?: boolean;
  readonly checkFile?: boolean;
  readonly flush?: boolean;
  readonly fsync?: boolean;
  readonly style: number;
  readonly filldata?: string;
  readonly debug?: boolean;
  readonly debugFrom?: number;
  readonly monitor?: readonly [start: number, end: number];
}

/** Adds them. `whole`: how a number is parsed, with its bounds. */
export function addClassicOptions(command: Command, whole: (least: number, most?: number) => (text: string) => number): void {
  for (const [flags, , names] of WITHOUT) command.option(flags, `leave out ${names.join(', ')}`);
  command
    .option('-K, --no-keep-size', 'no fallocate or zero_range that leaves the size as it is')
    .option('-u, --no-unshare', 'no fallocate that unshares')
    .option('-L, --lite', 'files are whole from the beginning and keep their size: reads and writes alone')
    .option('-x, --prealloc', 'files have blocks for all of their largest size from the beginning')
    .option('-n, --no-size-checks', 'do not look at the size after every operation')
    .option('-X, --check-file', 'compare the whole file after every operation')
    .option('-f, --flush', 'msync what an operation has stored')
    .option('-y, --fsync', 'fsync the file after each operation that stores')
    .addOption(new Option('-s, --style <0|1>', '1: truncates no larger than other operations').argParser(whole(0, 1)).default(0))
    .option('-g, --filldata <CHARACTER>', 'store this character instead of bytes that tell operations apart')
    .option('-d, --debug', 'print every operation')
    .addOption(new Option('-D, --debug-from <N>', 'print every operation from this one on').argParser(whole(1)))
    .addOption(new Option('-m, --monitor <START:END>', 'print operations that touch these bytes').argParser((text) => monitored(text, whole(0))));
  for (const [letter, value] of NOT_HERE) command.addOption(new Option(value ? `-${letter} <VALUE>` : `-${letter}`).hideHelp());
}

/** What is left out; BadInput where an option that means nothing here was given. */
export function withoutOf(flags: Readonly<Record<string, unknown>>): OperationName[] {
  for (const [letter, , why] of NOT_HERE) if (flags[letter] !== undefined) throw new BadInput(`fsx -${letter}: ${why}`);
  return WITHOUT.flatMap(([, key, names]) => (flags[key] === false ? names : []));
}

export function classicMix(flags: ClassicFlags): Pick<Mix, 'keepSize' | 'unshare' | 'smallTruncates' | 'fill' | 'start' | 'syncEach'> {
  if (flags.lite === true && flags.prealloc === true) throw new BadInput('fsx: -L makes files whole, -x gives them blocks alone: one of the two');
  if (flags.flush === true && flags.fsync === true) throw new BadInput('fsx: -f and -y: one of the two');
  return {
    keepSize: flags.keepSize !== false, unshare: flags.unshare !== false, smallTruncates: flags.style === 1, fill: flags.filldata === undefined ? null : (new TextEncoder().encode(flags.filldata)[0] ?? 0),
    start: flags.lite === true ? 'whole' : flags.prealloc === true ? 'reserved' : 'empty', syncEach: flags.flush === true ? 'msync' : flags.fsync === true ? 'fsync' : 'none',
  };
}

/** START:END; without END, or 0, to the end of everything. */
function monitored(text: string, number: (text: string) => number): readonly [number, number] {
  const [start = '', end = '', ...more] = text.split(':');
  if (more.length > 0 || !text.includes(':')) number(''); // says what is wrong
  return [number(start), end === '' || number(end) === 0 ? Infinity : number(end)];
}
