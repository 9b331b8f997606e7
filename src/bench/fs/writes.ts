/**
 * Writes into holes: blocks are allocated and zeroed, by a device that faults the hole in for writing; and then written, by that device's stores or by pwrite(2) with so
 * many bytes a call. Beside them a memset of as many bytes, the least that zeroing them can cost, and a copy of as many, which those that write cannot do without.
 *
 * The file is cut to nothing before each sample, untimed, so that blocks are free again and have old contents, which is what zeroing is for.
 */
import { createMachine, createMirror, type DaxFile, type Machine } from '../../api/index.ts';
import { KiB, MiB, type PageSize } from '../../units.ts';
import { missingReason } from '../hmm/walks.ts';
import type { BenchContext, Contender, Work, Workload } from '../workload.ts';

const TOTAL = 32 * MiB;
/** as small as will do: what is freed is not what is had next, and nothing of it is to be touched for the first time when it counts */
const DEVICE = 128 * MiB;
const LENGTHS = [4 * KiB, 64 * KiB, 2 * MiB];
const WARMUP_MS = 200;
const BYTE = 0xa7;

export const writeWorkloads: readonly Workload[] = [
  ...LENGTHS.map((length): Workload => ({
    name: `write into a hole, ${words(length)} a call`, table: 'write', pageSize: '4K', quick: false, size: { curve: 'write into a hole', at: length, of: 'bytes' }, setup: (context) => callWork(length, context),
  })),
  { name: 'allocate and zero, 4K faults', table: 'write', pageSize: '4K', quick: false, setup: (context) => faultWork('4K', context) },
  { name: 'allocate and zero, 2M faults', table: 'write', pageSize: '2M', quick: false, setup: (context) => faultWork('2M', context) },
  { name: 'device write into a hole, 2 MiB a call', table: 'write', pageSize: '2M', quick: false, setup: (context) => deviceWork(context) },
];

function words(bytes: number): string {
  return bytes >= MiB ? `${bytes / MiB} MiB` : `${bytes / KiB} KiB`;
}

/** Stores alone, over memory that was there before. */
function memsetOf(context: BenchContext): Contender {
  const { native } = context;
  if (native === null) return { name: 'memset', missing: missingReason(context), run: () => {} };
  const memory = new Uint8Array(TOTAL);
  return { name: 'memset', run: (times) => { for (let t = 0; t < times; t++) native.memset(memory, 0, TOTAL, BYTE); } };
}

function copyOf(data: Uint8Array): Contender {
  const memory = new Uint8Array(TOTAL);
  const once = (): void => {
    for (let at = 0; at < TOTAL; at += data.length) memory.set(data, at);
  };
  return { name: 'copy', run: (times) => { for (let t = 0; t < times; t++) once(); } };
}

async function scene(extent: PageSize = '2M'): Promise<{ machine: Machine; file: DaxFile }> {
  const machine = await createMachine({ profile: 'lab', native: 'off' });
  return { machine, file: machine.pmem({ size: DEVICE }).file('bench', { extent }) };
}

/** Bytes [0, TOTAL) as they must be, looked at in a few places of each 2 MiB, and the blocks behind them. */
function check(file: DaxFile, byte = BYTE): string | null {
  const blocks = file.extents().reduce((sum, { length }) => sum + length, 0);
  if (file.size !== TOTAL || blocks !== TOTAL) return `has ${blocks} of ${TOTAL} bytes allocated`;
  for (let at = 0; at < TOTAL; at += 64 * KiB) if (file.read(at + 17, 3).some((found) => found !== byte)) return `differs near byte ${at}`;
  return null;
}

function workOf(contender: (name: string) => Contender, machine: Machine, context: BenchContext, data: Uint8Array | null): Work {
  return {
    unit: 'byte', unitsPerRun: TOTAL, contenders: [contender('walker'), { ...contender('null'), isNull: true }, memsetOf(context), ...(data === null ? [] : [copyOf(data)])], against: ['memset', ...(data === null ? [] : ['copy'])], outputBytesPerRun: TOTAL, single: true, warmupMs: WARMUP_MS,
    dispose: () => machine.dispose(),
  };
}

async function callWork(length: number, context: BenchContext): Promise<Work> {
  const { machine, file } = await scene();
  const data = new Uint8Array(length).fill(BYTE);
  const before = (): void => file.truncate(0);
  const run = (): void => {
    for (let at = 0; at < TOTAL; at += length) file.write(at, data);
  };
  return workOf((name) => ({ name, before, run, check: () => (before(), run(), check(file)) }), machine, context, data);
}

/** Blocks that had other bytes are allocated anew and read zero, by the faults of a range over the hole; nothing is copied. */
async function faultWork(pageSize: '4K' | '2M', context: BenchContext): Promise<Work> {
  const { machine, file } = await scene(pageSize);
  const space = machine.mm();
  const { start } = space.mmap(file, { length: TOTAL, smallPages: pageSize === '4K' });
  const range = createMirror(space).range(start, TOTAL, { write: true });
  const data = new Uint8Array(2 * MiB).fill(BYTE);
  const before = (): void => {
    for (let at = 0; at < TOTAL; at += data.length) file.write(at, data);
    file.truncate(0);
    file.truncate(TOTAL);
  };
  return workOf((name) => ({ name, before, run: () => range.fault(), check: () => (before(), range.fault(), check(file, 0)) }), machine, context, null);
}

async function deviceWork(context: BenchContext): Promise<Work> {
  const { machine, file } = await scene();
  const space = machine.mm();
  const { start } = space.mmap(file, { length: TOTAL });
  const mirror = createMirror(space);
  const data = new Uint8Array(2 * MiB).fill(BYTE);
  const before = (): void => {
    file.truncate(0);
    file.truncate(TOTAL);
  };
  const run = (): void => {
    for (let at = 0; at < TOTAL; at += data.length) mirror.write(start + BigInt(at), data);
  };
  return workOf((name) => ({ name, before, run, check: () => (before(), run(), check(file)) }), machine, context, data);
}
