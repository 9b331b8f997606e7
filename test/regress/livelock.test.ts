/**
 * Livelocks are found, not listed: a retry loop that is back at its head with nothing changed, and nobody left who could change
 * anything. Other places, addresses and sizes than the recorded ones; what the records show of theirs must be true of these.
 */
import { describe, expect, test } from 'vitest';
import { Checker } from '../../dist/check/index.js';
import { Livelock } from '../../dist/errno.js';
import type { MachineCore } from '../../dist/machine.js';
import { operationsFor, parseScenario, runScenario, type ScenarioRecord } from '../../dist/scenario/index.js';
import { runOn } from '../../dist/sched/index.js';
import { holdPages, madviseHuge, releasePages } from '../../dist/mm/index.js';
import { fault, letters } from '../support/probe2019.ts';
import { makeMachine } from '../support/rig.ts';

type Op = ScenarioRecord['ops'][number];

async function run(lines: readonly string[], profile = 'v5.2'): Promise<readonly Op[]> {
  const script = parseScenario('livelock.scn', lines.join('\n'), operationsFor('2019'));
  const { result, ops } = await runScenario(script, { profile, api: '2019' });
  expect(result).toBe('ok');
  return ops;
}

/** What the last line answers once the probe has taken `valid` away. */
const BITTEN = { err: 'EBUSY', livelock: true };

describe('a write asked of a read-only mapping', () => {
  test.each([
    ['xfs, the middle of 2M', ['fs xfs', 'open f xfs:g', 'falloc f alloc 0 8M', 'map a 8M f prot=r', 'touch a+2M r', 'fault a+3M 20K w'], 5],
    ['ext4, a 4K page of an unaligned mapping', ['fs ext4', 'open f ext4:g', 'pwrite f 0 64K 3', 'map a 64K f prot=r skew=36K', 'touch a+20K r', 'fault a+20K 8K w'], 2],
    ['anonymous memory, in the second of two areas', ['map a 12K anon', 'map b 12K anon at=a+12K prot=r', 'touch a w', 'fault a 24K w'], 6],
    ['tmpfs, its last page', ['open t tmp:t', 'pwrite t 0 40K 7', 'map a 40K t prot=r', 'fault a+36K 4K w'], 1],
    ['memory shared with nobody', ['map a 1M anon shared prot=r', 'touch a+512K r', 'fault a+512K 4K w nonblock'], 1],
    ['device DAX of 4K pages', ['open d dev:dax4k', 'map a 2M d prot=r', 'touch a+1M r', 'fault a+1M 4K w'], 1],
    ['huge pages of anonymous memory', ['map a 6M anon', 'advise a 6M hugepage', 'touch a+2M w', 'protect a 6M r', 'fault a+3M 4K w'], 1],
  ] as const)('%s', async (_what, lines, npages) => {
    const last = (await run(lines)).at(-1) as Op;
    expect(last).toMatchObject(BITTEN);
    expect((last['pfns'] as { n: number; f: string }[]).reduce((n, one) => n + one.n, 0)).toBe(npages);
  });

  test('a device that stores there: it has written nothing', async () => {
    const ops = await run(['fs ext4', 'open f ext4:g', 'pwrite f 0 16K 3', 'map a 16K f prot=r', 'dwrite a+4K 8K 9', 'pread f 4K 8K']);
    expect(ops.at(-2)).toMatchObject({ ...BITTEN, done: 0 });
    expect(ops.at(-1)).toMatchObject({ bytes: [[8192, 3]] });
  });

  test.each([['v6.1'], ['v6.12']])('under %s is refused at once', async (profile) => {
    const ops = await run(['map a 12K anon prot=r', 'fault a+4K 4K w'], profile);
    expect(ops.at(-1)).toMatchObject({ err: 'EPERM' });
    expect(ops.at(-1)).not.toHaveProperty('livelock');
  });
});

describe('a dying pagemap under a live mapping', () => {
  test.each([
    ['2M of device DAX', ['open d dev:dax2m', 'map a 6M d', 'touch a+2M w', 'dying dax2m', 'fault a+3M 64K']],
    ['2M of XFS', ['fs xfs', 'open f xfs:g', 'falloc f alloc 0 4M', 'map a 4M f', 'touch a+2M w', 'dying xfs', 'fault a+2M 2M w']],
    ['one 4K page behind anonymous memory', ['open d dev:dax4k', 'map a 8K anon', 'map b 2M d at=a+8K', 'touch a w n=2', 'touch a+8K w', 'dying dax4k', 'fault a 12K']],
  ] as const)('%s', async (_what, lines) => {
    const ops = await run([...lines, 'alive', lines.at(-1) as string]);
    expect(ops.at(-3)).toMatchObject(BITTEN);
    expect(ops.at(-1), 'once it lives again').toMatchObject({ err: 'ok' });
  });
});

describe('what is no livelock', () => {
  test('a fault that waits longer than a watchdog would', async () => {
    const ops = await run(['map a 4M anon', 'advise a 4M hugepage', 'touch a w', 'migrate a 4K', 'async q fault a 2M w', 'sleep 4500', 'unmigrate', 'wait q 5000']);
    expect(ops.at(-1)).toMatchObject({ done: true, err: 'ok', count: 512 });
    expect(ops.at(-1)).not.toHaveProperty('livelock');
  });

  test('a loop that stands still until somebody else moves', async () => {
    const ops = await run(['open d dev:dax4k', 'map a 2M d', 'touch a w', 'dying dax4k', 'async q fault a 4K w', 'sleep 1000', 'alive', 'wait q 5000']);
    expect(ops.at(-1)).toMatchObject({ done: true, err: 'ok', count: 1, pfns: [{ n: 1, f: 'VW', k: 'dax4k' }] });
    expect(ops.at(-1)).not.toHaveProperty('livelock');
  });

  test('who needs mmap_lock cannot help: it waits for the loop', async () => {
    const ops = await run(['map a 16K anon prot=r', 'touch a r', 'async q fault a 4K w', 'sleep 1000', 'protect a 16K rw', 'wait q 5000', 'fault a 4K w']);
    expect(ops.at(-2)).toMatchObject({ done: true, ...BITTEN });
    expect(ops.at(-1)).toMatchObject({ err: 'ok', count: 1 });
  });

  test('it takes three seconds to be told from one', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 1024, at: 2 ** 20 });
    rig.run(madviseHuge(rig.mm, a, 1024, true));
    rig.touch(a, 'w');
    const held = rig.run(holdPages(rig.mm, a, a + 1));
    sched.spawn('release', (function* release() {
      yield* sched.sleep(6e9);
      releasePages(rig.platform, held);
    })());
    const call = fault(rig, a, 512, 'w');
    expect([call.result, letters(call.words), sched.nowNs]).toEqual([512, '512VW', 6e9]);
    sched.run(runOn);
  });
});

test('without anybody who watches it is an error that names the place', async () => {
  const rig = await makeMachine({ profile: 'v5.2' });
  const a = rig.map(rig.file({ npages: 512 }), { npages: 512, at: 2 ** 20, prot: 'r' });
  rig.touch(a + 300, 'r');
  expect(() => fault(rig, a + 300, 1, 'w')).toThrow(Livelock);
  expect(() => fault(rig, a + 300, 1, 'w')).toThrow(/0x10012c000/);
});

describe('a long pin for reading of a huge page of a file, in a private mapping', () => {
  const lines = ['fs xfs nodax', 'open f xfs:f', 'pwrite f 0 4M 3', 'map a 4M f private', 'touch a+2M r', 'pin p a+3M 1 longterm', 'snap a+2M 2M'];
  const script = parseScenario('pin-thp-private.scn', lines.join('\n'), operationsFor('modern'));

  async function answer(profile: string): Promise<{ ops: readonly Op[]; result: string; known: readonly string[] }> {
    const checkers: Checker[] = [];
    const watch = (core: MachineCore): Checker => {
      const checker = new Checker(core);
      checkers.push(checker);
      return checker;
    };
    const { ops, result } = await runScenario(script, { profile, watch });
    return { ops, result, known: checkers.flatMap(({ findings }) => findings.map(({ rule, knownBy }) => `${rule}: ${knownBy}`)) };
  }

  // Recorded on 6.12: the thread that pins does not come back in 100 s. What splits the leaf to copy a page finds it mapped whole again.
  test('v6.12 has no end of it, and the rule on retries knows the field', async () => {
    const { ops, result, known } = await answer('v6.12');
    expect(result).not.toBe('ok');
    expect(ops).toHaveLength(5);
    expect(known).toEqual(['bounded-retries: unshareMapsHuge']);
  });

  test('the lab maps small pages, of which one is copied', async () => {
    const { ops, result, known } = await answer('lab');
    expect([result, known]).toEqual(['ok', []]);
    expect(ops.at(-2)).toMatchObject({ err: 'ok', pinned: 1 });
  });
});
