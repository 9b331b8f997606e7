/** The exerciser: what is broken is found, cut down and replayed. */
import { describe, expect, it } from 'vitest';
import { DEFAULT_LAYOUT, DEFAULT_MIX, logText, parseLog, runFsx, type FsxOptions, type Layout, type Mix } from '../../../dist/fsx/index.js';

const OPERATIONS = 20_000;

function options({ layout = {}, mix = {}, ...more }: { layout?: Partial<Layout>; mix?: Partial<Mix> } & Partial<Omit<FsxOptions, 'layout' | 'mix'>> = {}): FsxOptions {
  return { layout: { ...DEFAULT_LAYOUT, ...layout }, mix: { ...DEFAULT_MIX, ...mix }, operations: OPERATIONS, ...more };
}

describe('fsx: what is wrong is found, cut down and replayed', () => {
  for (const [bug, accessor, most] of [
    ['stale-pfn', 'modern', 12], ['stale-pfn', '2019', 12], ['skip-notifier', 'modern', 12], ['skip-notifier', '2019', 12], ['skip-notifier', 'kvm', 12],
    ['wrong-frame', 'modern', 4], ['lost-device-write', 'modern', 4],
  ] as const) {
    it(`${bug} with accesses by ${accessor}`, async () => {
      const broken = options({ bugs: [bug], mix: { accessor, besideEvery: 4 } });
      const { failure } = await runFsx(broken);
      expect(failure, `${bug} is not found in ${OPERATIONS} operations`).not.toBeNull();
      const { shrunk = [], kind, shrunkWhat } = failure ?? {};
      expect(shrunk.length).toBeLessThanOrEqual(most);
      const log = parseLog('shrunk.ops', logText(broken.layout, shrunk)).operations;
      const again = await runFsx({ ...broken, log, operations: Infinity });
      expect(again.failure).toMatchObject({ kind, what: shrunkWhat });
      expect((await runFsx({ ...broken, bugs: [], log, operations: Infinity })).failure).toBeNull();
    });
  }

  it("a kernel's own breach is told by the profile's field", async () => {
    const { failure } = await runFsx(options({ layout: { fs: 'xfs', profile: 'v6.1' } }));
    expect(failure?.kind).toBe('data');
    expect(failure?.fields).toContain('sharedZeroesKept');
  });
});
