/** The exerciser: clean in every layout, deterministic, and its logs. */
import { describe, expect, it } from 'vitest';
import { ACCESSORS, DEFAULT_LAYOUT, DEFAULT_MIX, logText, parseLog, runFsx, type FsxOptions, type Layout, type Mix, type Operation } from '../../../dist/fsx/index.js';

const OPERATIONS = 2_000;

function options({ layout = {}, mix = {}, ...more }: { layout?: Partial<Layout>; mix?: Partial<Mix> } & Partial<Omit<FsxOptions, 'layout' | 'mix'>> = {}): FsxOptions {
  return { layout: { ...DEFAULT_LAYOUT, ...layout }, mix: { ...DEFAULT_MIX, ...mix }, operations: OPERATIONS, ...more };
}

describe('fsx: what is right stays right', () => {
  for (const layout of [{ fs: 'xfs', profile: 'v6.12' }, { fs: 'xfsn' }, { fs: 'ext4', page: '4K' }, { fs: 'ext4', fileBytes: 4 * 2 ** 20 }] as const) {
    it(`two processes, two files, checked: ${JSON.stringify(layout)}`, async () => {
      const { failure } = await runFsx(options({ layout: { ...layout, processes: 2, files: 2 }, mix: { accessor: 'mixed' }, operations: 1500, check: true }));
      expect(failure).toBeNull();
    });
  }

  it('every kind of operation comes up', async () => {
    const { counts } = await runFsx(options({ layout: { fs: 'xfs', profile: 'v6.12' }, operations: 5000 }));
    expect(Object.keys(counts)).toHaveLength(19);
  });

  it('who accesses does not matter to the bytes', async () => {
    const sums = await Promise.all(ACCESSORS.map(async (accessor) => (await runFsx(options({ mix: { accessor }, operations: 3000 }))).contents));
    expect(sums[0]?.[0]?.some((byte) => byte !== 0)).toBe(true);
    for (const contents of sums) expect(contents).toEqual(sums[0]);
  });

  it('a run that begins later ends with the same bytes', async () => {
    const whole = await runFsx(options({ operations: 3000 }));
    const late = await runFsx(options({ operations: 3000, begin: 2001 }));
    expect(late.failure).toBeNull();
    expect(late.contents).toEqual(whole.contents);
  });
});

describe('fsx: who stops it', () => {
  it('is asked while a failure is cut down, and leaves it at what was found by then', async () => {
    const phases = new Map<string, number>();
    const run = (most: number): ReturnType<typeof runFsx> => runFsx(options({ bugs: ['lost-device-write'], pause: (_done, phase) => {
      phases.set(phase, (phases.get(phase) ?? 0) + 1);
      return Promise.resolve(phase === 'shrink' && (phases.get(phase) ?? 0) > most);
    } }));
    const whole = await run(Infinity);
    const runs = phases.get('shrink') ?? 0;
    expect(whole.failure).toMatchObject({ shrunkWhole: true });
    phases.clear();
    const stopped = await run(2);
    expect(stopped.failure).toMatchObject({ kind: whole.failure?.kind, at: whole.failure?.at, shrunkWhole: false, shrinkRuns: 2, fields: [] });
    expect(runs).toBeGreaterThan(2);
    expect(phases.get('shrink')).toBeLessThan(runs);
  });

  it('is asked while operations before --begin are reckoned', async () => {
    const { interrupted, operations } = await runFsx(options({ begin: 1500, pause: (done) => Promise.resolve(done >= 512) }));
    expect({ interrupted, operations }).toEqual({ interrupted: true, operations: 512 });
  });
});

describe('fsx: logs', () => {
  it('a recorded log replays with every other accessor to the same bytes', async () => {
    const recorded: Operation[] = [];
    const layout = { fs: 'xfs', profile: 'v6.12', processes: 2, files: 2 } as const;
    const first = await runFsx(options({ layout, mix: { accessor: 'mixed' }, operations: 2000, onOperation: (operation) => recorded.push(operation) }));
    expect(first.failure).toBeNull();
    const { layout: read, operations: log } = parseLog('mixed.ops', logText({ ...DEFAULT_LAYOUT, ...layout }, recorded));
    for (const accessor of ACCESSORS) {
      const again = await runFsx({ ...options({ layout: read }), operations: Infinity, log, accessor });
      expect(again.failure).toBeNull();
      expect(again.contents).toEqual(first.contents);
    }
  });
});
