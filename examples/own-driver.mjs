// A driver of one's own, with bug switches of its own: does the check find them? node examples/own-driver.mjs [SWITCH...]
import { MiB, createChecker, createMachine, createMirror, defineBugs, findingText } from 'daxmirror';

const bugs = defineBugs({
  'keeps-stale': 'the driver uses what it has without asking whether its range is still valid',
  'write-always': 'the driver enters every page as writable',
}, process.argv.slice(2));

const machine = await createMachine({ arena: 64 * MiB });
const file = machine.pmem({ size: 16 * MiB }).file('data', { size: MiB });
const mm = machine.mm({ name: 'app' });
const map = mm.mmap(file, { length: file.size });
mm.store(map.start, new Uint8Array(64 * 1024));
mm.mprotect(map.start, 32 * 1024, 'r');

// The driver: one range, and a table of its own of what that said.
const range = createMirror(mm, { name: 'port' }).range(map.start, 65536);
const table = new Map();
function refresh() {
  if (range.valid || (table.size > 0 && bugs.has('keeps-stale'))) return;
  table.clear();
  range.snapshot();
  for (const { addr, valid, pfn, write } of range) if (valid) table.set(addr, { pfn, write: write || bugs.has('write-always') });
}

const checker = createChecker(machine, {
  drivers: [{ name: 'my driver', mm, entries: () => Array.from(table, ([addr, entry]) => ({ addr, ...entry })) }],
});
for (const [name, act] of [['fill', () => {}], ['punch', () => file.punch(0, 4096)], ['truncate', () => file.truncate(0)]]) {
  act();
  refresh();
  for (const finding of checker.step(name)) console.log(findingText(finding));
}
checker.close();
console.log(checker.findings.length === 0 ? 'nothing is wrong' : `${checker.findings.length} found`);
