/** Bug switch worker-skips-retry: a reader in another thread that does not ask whether its owner was faster. */
import { expect, test } from 'vitest';
import { MiB, createMachine } from '../../dist/index.js';
import { TableReader, WorkerPlace } from '../../dist/share/index.js';
import type { Walker } from '../../dist/arena/index.js';
import { stressShared } from '../support/shareStress.ts';

/** What a reader answers when the owner unmaps the first page just after the walker has looked at it. */
async function overtaken(bugs: readonly 'worker-skips-retry'[]): Promise<Record<string, unknown>> {
  const machine = await createMachine({ arena: 32 * MiB, native: 'off', bugs });
  const mm = machine.mm({ name: 'app' });
  const { start } = mm.mmap(null, { length: 16 * 4096, smallPages: true });
  const vpn = Number(start / 4096n);
  const handle = machine.share();
  const place = new WorkerPlace(handle, 0, 1000);
  const reader = new TableReader(place, handle.tables[0] as (typeof handle.tables)[number]);
  const own = place.walker;
  /** The walker, once overtaken: it answers, and before anyone looks at the answer the owner has unmapped the page. */
  const overtake = (name: 'translate' | 'translateBatch' | 'walk' | 'contentOffset'): void => {
    mm.store(start, new Uint8Array([42]));
    const slow = (...args: never[]): number => {
      const answer = (own[name] as (...given: never[]) => number)(...args);
      (place as { walker: Walker }).walker = own;
      mm.madvise(start, 4096, 'dontneed');
      return answer;
    };
    (place as { walker: Walker }).walker = { ...own, [name]: slow };
  };
  overtake('translate');
  const translated = reader.translate(vpn, false) >= 0;
  overtake('translateBatch');
  const batch = (reader.translateBatch(Float64Array.of(vpn), false)[0] as number) >= 0;
  overtake('walk');
  reader.walk(vpn, 16);
  const walked = place.u64[place.window >>> 3] !== 0n;
  overtake('contentOffset');
  const copied = reader.copy(vpn, 0, new Uint8Array(1), 0, 1);
  const seq = reader.begin();
  mm.store(start, new Uint8Array([42]));
  mm.madvise(start, 4096, 'dontneed');
  return { translated, batch, walked, copied, stale: reader.retry(seq, vpn, vpn + 1) };
}

test('off, an overtaken reader looks again; on, it answers what is gone', async () => {
  expect(await overtaken([])).toEqual({ translated: false, batch: false, walked: false, copied: false, stale: true });
  expect(await overtaken(['worker-skips-retry'])).toEqual({ translated: true, batch: true, walked: true, copied: true, stale: false });
});

test('the stress finds it', async () => {
  const { wrong } = await stressShared({ seed: 1n, ms: 20_000, bugs: ['worker-skips-retry'] });
  expect(wrong.length).toBeGreaterThan(0);
}, 40_000);
