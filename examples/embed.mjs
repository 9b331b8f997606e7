// A simulator of a machine that runs loads and stores, with its memory management by daxmirror: it brings the memory, keeps a software
// TLB filled by translate() and emptied by onInvalidate, and touches the bytes itself, while the file below is synced and truncated.
import assert from 'node:assert/strict';
import { createMachine, createMirror, HmmError, MiB } from 'daxmirror';

const memory = new WebAssembly.Memory({ initial: 1024, maximum: 1024 }); // 64 MiB of our own
const bytes = new DataView(memory.buffer);
const machine = await createMachine({ memory });
const file = machine.pmem({ size: 32 * MiB }).file('disk', { size: 8 * MiB });
const mm = machine.mm({ name: 'guest' });
const { start, length } = mm.mmap(file, { length: file.size });

const tlb = { r: new Map(), w: new Map() }; // page number -> where it begins in our memory
const counts = { loads: 0, stores: 0, misses: 0, flushed: 0, traps: 0 };
const mirror = createMirror(mm, {
  onInvalidate(range) {
    for (const side of [tlb.r, tlb.w])
      for (const page of side.keys()) if (page * 4096n >= range.start && page * 4096n < range.end && side.delete(page)) counts.flushed++;
  },
});

function offsetOf(addr, access) {
  const page = addr / 4096n;
  let base = tlb[access].get(page);
  if (base === undefined) {
    counts.misses++;
    const paddr = mirror.translate(page * 4096n, access); // faults where it has to; EFAULT is the guest's trap
    base = machine.locate(paddr, { write: true }); // room is made, so that the place is final
    tlb[access].set(page, base);
  }
  return base + Number(addr % 4096n);
}

const words = new Uint32Array(length / 4); // what the guest's memory ought to hold
let state = 12345;
const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0);
for (let pc = 0; pc < 200_000; pc++) {
  const at = (next() >>> 8) % words.length;
  const addr = start + BigInt(at * 4);
  try {
    if (next() >>> 31 === 0) {
      assert.equal(bytes.getUint32(offsetOf(addr, 'r'), true), words[at], `load at ${addr}`);
      counts.loads++;
    } else {
      bytes.setUint32(offsetOf(addr, 'w'), pc, true);
      words[at] = pc;
      counts.stores++;
    }
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT')) throw error;
    assert.ok(at * 4 >= file.size, 'only what lies beyond the file traps');
    counts.traps++;
  }
  if (pc % 50_000 === 10_000) file.fsync();
  if (pc % 50_000 === 30_000) file.truncate(3 * MiB);
  if (pc % 50_000 === 30_000) words.fill(0, (3 * MiB) / 4);
  if (pc % 50_000 === 35_000) file.truncate(length);
}
assert.deepEqual(file.read(0, length), new Uint8Array(words.buffer));
console.log('embed:', counts);
