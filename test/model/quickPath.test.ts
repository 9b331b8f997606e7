import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { daxFsync, daxPunch, daxTruncate, daxWrite } from '../../dist/dax/index.js';
import type { DeviceMirror } from '../../dist/dmirror/index.js';
import { HmmError } from '../../dist/errno.js';
import type { MachineEvent } from '../../dist/events/events.js';
import type { Inode } from '../../dist/fs/index.js';
import { cpuLoad, cpuStore, madviseDontneed, mprotect } from '../../dist/mm/index.js';
import { runOn, type Sleepable } from '../../dist/sched/index.js';
import { makeMachine, type Rig } from '../support/rig.ts';
import { stateOf } from '../support/roomState.ts';

const PAGES = 1200;

const op = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constantFrom('load' as const, 'store' as const), area: fc.nat(3), page: fc.nat(PAGES - 1) }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constantFrom('fill' as const, 'fill to write' as const), area: fc.nat(3), page: fc.nat(PAGES - 1), npages: fc.constantFrom(1, 3, 512, 600) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('fsync' as const), page: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('punch' as const, 'write' as const, 'truncate' as const, 'dontneed' as const, 'read only' as const, 'read write' as const), area: fc.nat(3), page: fc.nat(PAGES - 1), npages: fc.constantFrom(1, 5, 512) }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

interface Side {
  readonly rig: Rig;
  readonly inode: Inode;
  readonly areas: readonly number[];
  readonly device: DeviceMirror;
  readonly log: MachineEvent[];
}

/** A file with a hole, mapped shared, private, with MAP_SYNC and skewed, and mirrored. */
async function side(profile: string): Promise<Side> {
  const rig = await makeMachine({ profile, arenaBytes: 32 * 2 ** 20 });
  const inode = rig.fileSystem().create('f', 512);
  inode.fs.setSize(inode, PAGES * 4096);
  inode.fs.allocateWritten(inode, 0, 700);
  const at = 2 ** 25;
  const areas = [
    rig.map(inode, { npages: PAGES, at }),
    rig.map(inode, { npages: PAGES, at: at + 4096, shared: false }),
    rig.map(inode, { npages: PAGES, at: at + 8192, sync: true }),
    rig.map(inode, { npages: PAGES, at: at + 12289 }),
  ];
  const device = rig.device('modern');
  const log: MachineEvent[] = [];
  rig.platform.bus.observe((event) => log.push(event));
  return { rig, inode, areas, device, log };
}

function body({ rig, inode, areas, device }: Side, one: Op): Sleepable<unknown> {
  const { mm } = rig;
  const vpn = 'area' in one ? (areas[one.area] as number) + one.page : 0;
  const npages = 'npages' in one ? Math.min(one.npages, PAGES - one.page) : 0;
  switch (one.op) {
    case 'load':
      return cpuLoad(mm, vpn, 0, new Uint8Array(1));
    case 'store':
      return cpuStore(mm, vpn, 0, Uint8Array.of(one.page % 256));
    case 'fill':
      return device.fill(vpn, vpn + npages, false);
    case 'fill to write':
      return device.fill(vpn, vpn + npages, true);
    case 'fsync':
      return daxFsync(inode);
    case 'punch':
      return daxPunch(inode, one.page * 4096, npages * 4096);
    case 'write':
      return daxWrite(inode, one.page * 4096, new Uint8Array(npages * 4096).fill(5));
    case 'truncate':
      return daxTruncate(inode, one.page * 4096);
    case 'dontneed':
      return madviseDontneed(mm, vpn, npages);
    case 'read only':
      return mprotect(mm, vpn, npages, 1);
    case 'read write':
      return mprotect(mm, vpn, npages, 3);
  }
}

function outcome(run: () => unknown): string {
  try {
    run();
    return 'ok';
  } catch (error) {
    if (HmmError.is(error)) return `${error.op}: ${error.code}`;
    throw error;
  }
}

/** Carries `path` through while another task is there that could run: every preemption point is passed. */
function amongOthers(rig: Rig, path: Sleepable<unknown>): void {
  const { sched } = rig.platform;
  let done = false;
  sched.spawn('path', (function* run(): Sleepable<void> {
    try {
      yield* path;
    } finally {
      done = true;
    }
  })());
  sched.spawn('other', (function* wait(): Sleepable<void> {
    yield { kind: 'wait', what: 'the end', touches: '', ready: () => done, holder: () => null, deadlineNs: Infinity };
  })());
  sched.run(runOn);
}

describe('the quick fault path', () => {
  test('comes to the same as the long one, event by event', async () => {
    let quickFaults = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('v6.1', 'v6.12', 'lab'), fc.array(op, { maxLength: 40, size: 'max' }), async (profile, ops) => {
        const quick = await side(profile);
        const long = await side(profile);
        for (const one of ops) {
          const [first, second] = [outcome(() => quick.rig.run(body(quick, one))), outcome(() => amongOthers(long.rig, body(long, one)))];
          expect(first).toBe(second);
          expect(quick.log).toEqual(long.log);
          quick.log.length = long.log.length = 0;
        }
        expect(stateOf(quick.rig)).toEqual(stateOf(long.rig));
        expect(quick.rig.platform.counts).toEqual(long.rig.platform.counts);
        quickFaults += quick.rig.platform.counts.faults;
      }),
      { numRuns: 80 },
    );
    expect(quickFaults).toBeGreaterThan(1000);
  });
});
