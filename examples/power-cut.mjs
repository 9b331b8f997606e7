import { createMachine, createMirror, createPowerCuts, MiB } from 'daxmirror';

const machine = await createMachine({ arena: 64 * MiB });
const power = createPowerCuts(machine);
const text = (bytes) => JSON.stringify(new TextDecoder().decode(bytes));

// A device stores to a page that has no block yet, and its cache lines are flushed. Is that enough?
function store(sync) {
  machine.reset();
  const pmem = machine.pmem({ size: 16 * MiB });
  const file = pmem.file('log', { size: 64 * 1024, sparse: true });
  file.fsync();
  const mm = machine.mm();
  const map = mm.mmap(file, { length: file.size, sync });
  createMirror(mm, { name: 'gpu0' }).write(map.start, new TextEncoder().encode('precious'));
  power.flush(mm, map.start, 8); // clwb, sfence
  return { pmem, file };
}

for (const sync of [false, true]) {
  const { pmem, file } = store(sync);
  const left = power.cut(pmem); // as little as may be left
  console.log(`${sync ? 'MAP_SYNC' : 'no sync '}  after the flush: ${text(left.read('log', 0, 8))}; changes of metadata lost: ${left.changesLost}`);
  file.fsync();
  console.log(`          after fsync:     ${text(power.cut(pmem).read('log', 0, 8))}`);
  machine.reset(); // the power fails, the machine comes up, the device is mounted
  console.log(`          mounted:         ${text(machine.mount(left).open('log').read(0, 8))}`);
}
