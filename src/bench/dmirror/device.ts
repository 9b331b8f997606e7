/**
 * The device reads and writes memory that it mirrors: bytes a second once its table has the pages, by bytes a call and by page size. Beside it a plain copy of
 * as many bytes between two arrays.
 */
import { createMachine, createMirror, type Mirror } from '../../api/index.ts';
import { GiB, KiB, LEVEL_SIZES, MiB, type PageSize } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const LENGTHS = [64, 4 * KiB, 64 * KiB, 2 * MiB, 16 * MiB];
const WARMUP_MS = 100;

export const deviceWorkloads: readonly Workload[] = (['read', 'write'] as const).flatMap((what) => LEVEL_SIZES.flatMap((pageSize) => LENGTHS.map((length): Workload => ({
  name: `device ${what} ${pageSize}, ${words(length)} a call`,
  table: 'device',
  pageSize,
  quick: false,
  size: { curve: `device ${what} ${pageSize}`, at: length, of: 'bytes' },
  setup: () => deviceWork(what, pageSize, length),
}))));

function words(bytes: number): string {
  return bytes >= MiB ? `${bytes / MiB} MiB` : bytes >= KiB ? `${bytes / KiB} KiB` : `${bytes} bytes`;
}

async function deviceWork(what: 'read' | 'write', pageSize: PageSize, length: number): Promise<Work> {
  const size = pageSize === '1G' ? GiB : 32 * MiB;
  const machine = await createMachine({ profile: 'lab', native: 'off' });
  const file = machine.pmem({ size: size + GiB }).file('bench', { size, extent: pageSize });
  const space = machine.mm();
  const { start } = space.mmap(file, { length: size, smallPages: pageSize === '4K' });
  const mirror = createMirror(space);
  const data = Uint8Array.from({ length }, (_, i) => (i * 7 + 1) & 255);
  space.store(start, data);
  mirror.fault(start, length, { write: true });
  const own = (name: string): Contender => contender(name, what, mirror, start, data);
  const target = new Uint8Array(length);
  const copy: Contender = {
    name: 'copy',
    run: (times) => {
      for (let t = 0; t < times; t++) target.set(data);
    },
  };
  return {
    unit: 'byte', unitsPerRun: length, contenders: [own('walker'), { ...own('null'), isNull: true }, copy], against: ['copy'], outputBytesPerRun: length, warmupMs: WARMUP_MS,
    dispose: () => machine.dispose(),
  };
}

function contender(name: string, what: 'read' | 'write', mirror: Mirror, start: bigint, data: Uint8Array): Contender {
  const target = new Uint8Array(data.length);
  const check = (): string | null => {
    if (what === 'write') mirror.write(start, data);
    mirror.readInto(start, target);
    const at = target.findIndex((byte, i) => byte !== data[i]);
    return at < 0 ? null : `differs at byte ${at}`;
  };
  const run = what === 'read'
    ? (times: number): void => { for (let t = 0; t < times; t++) mirror.readInto(start, target); }
    : (times: number): void => { for (let t = 0; t < times; t++) mirror.write(start, data); };
  return { name, check, run };
}
