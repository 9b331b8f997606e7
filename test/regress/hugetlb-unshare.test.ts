/** A pin for reading of a huge page shared with a child: the pinner gets one of its own, read only still (hugetlb_wp, FAULT_FLAG_UNSHARE). */
import { expect, test } from 'vitest';
import { operationsFor, parseScenario, runScenario } from '../../dist/scenario/index.js';

test.each(['v6.1', 'v6.12'])('%s: the pinned page is not the child\'s, and a store of either is seen by itself alone', async (profile) => {
  const lines = ['map a 4M anon private huge2m', 'poke a 2M 1', 'fork c', 'pin p a 1 longterm', 'snap a 4K', 'in c snap a 4K', 'in c poke a 4K 2', 'unpin p', 'peek a 16'];
  const { ops, result } = await runScenario(parseScenario('unshare.scn', lines.join('\n'), operationsFor('modern')), { profile });
  expect(result).toBe('ok');
  const [, , , pin, snap, child] = ops as [unknown, unknown, unknown, unknown, { pfns: { f: string }[] }, { pfns: { f: string }[] }];
  expect(pin).toMatchObject({ err: 'ok', pinned: 1 });
  expect([snap.pfns[0]?.f, child.pfns[0]?.f]).toEqual(['V', 'V']);
});
