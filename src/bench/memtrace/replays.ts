/**
 * Traces: lackey text from a plain file, through readers, TLBs, walks and faults, on a machine of its own each time.
 *
 * The trace is like a program's: loops of fetches over 64 pages of code, loads and stores on a stack and in 16 MiB of heap, most of
 * them near the last. It is checked before it is timed: every access must have come through, every page have been faulted once.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { InvariantError } from '../../errno.ts';
import { Replay, type ByteSource } from '../../memtrace/index.ts';
import { LEVEL_SIZES, type PageSize } from '../../units.ts';
import type { Contender, Work, Workload } from '../workload.ts';

const LINES = 600_000;
const CODE = 0x400000;
const STACK = 0x1ffeffe000;
const HEAP = 0x4a00000;
const HEAP_BYTES = 16 * 2 ** 20;
const CODE_PAGES = 64;
/** one access in so many of the heap is far from the last */
const FAR_EVERY = 16;

export const replayWorkloads: readonly Workload[] = [
  { name: 'trace replay, lackey text, 4K', table: 'trace', pageSize: null, quick: false, setup: () => replayWork(['4K']) },
  { name: 'trace replay, lackey text, 4K 2M 1G at once', table: 'trace', pageSize: null, quick: false, setup: () => replayWork(LEVEL_SIZES) },
];

async function replayWork(pages: readonly PageSize[]): Promise<Work> {
  const folder = mkdtempSync(path.join(tmpdir(), 'daxmirror-bench-'));
  const file = path.join(folder, 'trace.lackey');
  writeFileSync(file, lackeyText(LINES));
  const replaying = (name: string): Contender => {
    let replay: Replay | null = null;
    let fd = -1;
    return {
      name,
      before: async () => {
        fd = openSync(file, 'r');
        replay = await Replay.create(fileSource(fd), { pages });
      },
      run: async () => {
        while (await (replay as Replay).step());
        if (replay?.accesses !== LINES) throw new InvariantError(`${replay?.accesses} of ${LINES} accesses came through`);
        replay[Symbol.dispose]();
        closeSync(fd);
      },
    };
  };
  return {
    unit: 'access',
    unitsPerRun: LINES,
    contenders: [replaying('walker'), { ...replaying('null'), isNull: true }],
    against: ['walker'],
    single: true,
    warmupMs: 200,
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function fileSource(fd: number): ByteSource {
  return { read: (target) => readSync(fd, target) };
}

/** As valgrind prints it, from a fixed seed. */
function lackeyText(lines: number): string {
  let state = 1;
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const out: string[] = [];
  let ip = CODE;
  let heap = HEAP;
  while (out.length < lines) {
    out.push(`I  ${ip.toString(16).padStart(8, '0')},4\n`);
    ip = below(12) === 0 ? CODE + below(CODE_PAGES * 256) * 16 : CODE + ((ip - CODE + 4) % (CODE_PAGES * 4096));
    const what = below(8);
    if (what > 3) continue;
    if (what < 2) {
      heap = below(FAR_EVERY) === 0 ? HEAP + below(HEAP_BYTES / 8) * 8 : HEAP + ((heap - HEAP + 8) % HEAP_BYTES);
      out.push(` ${what === 0 ? 'L' : 'S'} ${heap.toString(16).padStart(8, '0')},8\n`);
    } else out.push(` ${what === 2 ? 'L' : 'M'} ${(STACK + below(512) * 8).toString(16)},8\n`);
  }
  return out.slice(0, lines).join('');
}
