/** Rule sync-order where tasks run beside each other: page by page, not by the file's one flag. */
import { expect, test } from 'vitest';
import { Checker, createChecker, findingText } from '../../../dist/check/index.js';
import { createMachine } from '../../../dist/index.js';
import { operationsFor, parseScenario, runScenario } from '../../../dist/scenario/index.js';
import type { BugSwitch } from '../../../dist/profile/index.js';

const SCENE = `fs xfs
open f xfs:f
falloc f alloc 0 64K
map a 64K f sync
task one
  touch a+4K w
end
task two
  falloc f alloc 64K 64K
  pwrite f 128K 4K 1
end`;

async function findings(seed: number, bugs: readonly BugSwitch[]): Promise<readonly string[]> {
  let checker: Checker | null = null;
  await runScenario(parseScenario('sync.scn', SCENE, operationsFor('modern')), { profile: 'v6.12', bugs, seed: BigInt(seed), watch: (core) => (checker = new Checker(core)) });
  const made = checker as Checker | null;
  made?.end('the end');
  made?.close();
  return made?.findings.map(findingText) ?? [];
}

test('a MAP_SYNC fault beside one that makes the file dirty again is no finding', async () => {
  for (let seed = 1; seed <= 12; seed++) expect(await findings(seed, [])).toEqual([]);
});

test('one that commits nothing is found beside others too, whatever the order', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const found = await findings(seed, ['sync-fault-without-commit']);
    expect(found.join('\n')).toMatch(/^sync-order:[^]*may write page 1 of f through MAP_SYNC/);
  }
});

test("a user's own driver is compared at the end too", async () => {
  const machine = await createMachine({ profile: 'v6.12' });
  const mm = machine.mm();
  const { start } = mm.mmap(null, { length: 8192 });
  mm.store(start, Uint8Array.of(1));
  const entries = [{ addr: start, pfn: 0x1234n, write: true }];
  let programmed = false;
  const checker = createChecker(machine, { drivers: [{ name: 'mine', mm, entries: () => (programmed ? entries : []) }] });
  expect(checker.step('store')).toEqual([]);
  programmed = true; // with no step after it
  expect(checker.end('the end')).toMatchObject([{ rule: 'mirror-coherent', operation: 'the end', device: 'pfn 0x1234, writable' }]);
  checker.close();
});
