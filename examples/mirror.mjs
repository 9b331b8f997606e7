import { createMachine, createMirror, MiB } from 'daxmirror';

const machine = await createMachine({ arena: 64 * MiB });
const pmem = machine.pmem({ size: 64 * MiB });
const file = pmem.file('model.bin', { size: 4 * MiB });
const mm = machine.mm({ name: 'trainer' });
const map = mm.mmap(file, { length: file.size });
const text = (bytes) => new TextDecoder().decode(bytes);

const gpu = createMirror(mm, {
  name: 'gpu0',
  onInvalidate: ({ event, start, end }) => console.log(`${event}: ${(end - start) / 1024n} KiB from byte ${start - map.start}`),
});
gpu.write(map.start + 5000n, new TextEncoder().encode('from the device'));
console.log(text(mm.load(map.start + 5000n, 15)), '|', text(file.read(5000, 15))); // processor and read(2) see it

file.fsync(); // durable: the device may not write there any more without asking
file.truncate(0); // gone: for the device too
try {
  gpu.read(map.start, 1);
} catch (error) {
  console.log(error.code);
}
console.log(gpu.leaves(), `${pmem.pgmap.refs} references held`);
