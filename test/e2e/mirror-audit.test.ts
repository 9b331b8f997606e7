/** The audit of the main job: it finds every way in which a device's table can break the guarantee, and reads tables as they are. */
import { describe, expect, it } from 'vitest';
import { createMachine, createMirror, MiB } from '../../dist/index.js';
import { brokenLeaf, countBySize, readTable, type AuditedFile, type Leaf } from '../../dist/cli/mirror/audit.js';

const START = 0x7_0000_0000;
const BASE = 0x1000_0000;
const LEVEL_PAGES = [1, 512, 262_144];

/** A leaf at page `page` of the mapping. */
function leaf(page: number, pfn: number, isWritable = false, level = 0): Leaf {
  return { vpn: START + page, npages: LEVEL_PAGES[level] ?? 1, level, pfn, isWritable };
}

/** A file of 1024 pages at BASE + 512, of which pages 100 to 109 are a hole. */
const FILE: AuditedFile = {
  startVpn: START,
  npages: 1024,
  size: 1024 * 4096,
  extents: [
    { offset: 0, length: 100 * 4096, pfn: BigInt(BASE + 512), state: 'mapped' },
    { offset: 110 * 4096, length: 914 * 4096, pfn: BigInt(BASE + 512 + 110), state: 'mapped' },
  ],
  devicePfn: BASE,
  devicePages: 4096,
};
const frame = (page: number): number => BASE + 512 + page;
const ZERO_PFN = 0x10_0001;

describe('what keeps the guarantee', () => {
  const kept: readonly [string, readonly Leaf[], readonly Leaf[]][] = [
    ['an empty device', [], [leaf(0, frame(0))]],
    ['the same leaf', [leaf(3, frame(3))], [leaf(3, frame(3))]],
    ['fewer rights', [leaf(3, frame(3))], [leaf(3, frame(3), true)]],
    ['a page of a larger CPU leaf', [leaf(700, frame(700), true)], [leaf(512, frame(512), true, 1)]],
    ['a larger leaf over the same frames', [leaf(512, frame(512), false, 1)], Array.from({ length: 512 }, (_, i) => leaf(512 + i, frame(512 + i)))],
    ['the page of zeroes in a hole', [leaf(104, ZERO_PFN)], [leaf(104, ZERO_PFN)]],
  ];
  it.each(kept)('%s', (_name, device, cpu) => expect(brokenLeaf(device, cpu, FILE)).toBeNull());
});

describe('what breaks it', () => {
  const broken: readonly [string, readonly Leaf[], readonly Leaf[], Partial<AuditedFile>, RegExp][] = [
    ['an entry where the CPU has none', [leaf(3, frame(3))], [leaf(2, frame(2)), leaf(4, frame(4))], {}, /maps nothing at/],
    ['another frame', [leaf(3, frame(4))], [leaf(3, frame(3))], {}, /CPU page table maps frame 0x10000203/],
    ['more rights', [leaf(3, frame(3), true)], [leaf(3, frame(3))], {}, /has it read-only/],
    ['a huge leaf over a gap', [leaf(512, frame(512), false, 1)], Array.from({ length: 511 }, (_, i) => leaf(512 + i, frame(512 + i))), {}, /maps nothing at 0x7000003ff000/],
    ['a huge leaf over one frame elsewhere', [leaf(512, frame(512), false, 1)], Array.from({ length: 512 }, (_, i) => leaf(512 + i, i === 300 ? 1 : frame(512 + i))), {}, /maps frame 0x1 at/],
    ['a block that is no longer the file’s', [leaf(104, frame(104))], [leaf(104, frame(104))], {}, /page 104 of the file is a hole/],
    ['a writable page of zeroes', [leaf(104, ZERO_PFN, true)], [leaf(104, ZERO_PFN, true)], {}, /page 104 of the file is a hole/],
    ['another block of the file', [leaf(5, frame(6))], [leaf(5, frame(6))], {}, /page 5 of the file lies in frame 0x10000205/],
    ['beyond the end', [leaf(9, frame(9))], [leaf(9, frame(9))], { size: 9 * 4096 }, /the file ends at byte 36864/],
    ['a huge leaf over the end', [leaf(512, frame(512), false, 1)], [leaf(512, frame(512), false, 1)], { size: 1023 * 4096 }, /the file ends at/],
    ['outside the mapping', [leaf(1024, frame(1024))], [leaf(1024, frame(1024))], { size: 2048 * 4096 }, /no file is mapped there/],
    ['anything after munmap', [leaf(0, frame(0))], [leaf(0, frame(0))], { npages: 0 }, /no file is mapped there/],
  ];
  it.each(broken)('%s', (_name, device, cpu, changes, words) => expect(brokenLeaf(device, cpu, { ...FILE, ...changes })).toMatch(words));

  it('says which entry of the device it is', () => {
    expect(brokenLeaf([leaf(3, frame(3), true)], [], FILE)).toMatch(/^the device's writable 4K entry at 0x700000003000 leads to frame 0x10000203: /);
  });
});

describe('readTable', () => {
  it('finds the leaves that the page tables themselves find, of every size', async () => {
    const machine = await createMachine({ arena: 64 * MiB, profile: 'lab' });
    const pmem = machine.pmem({ size: 4 * 1024 * MiB });
    const mm = machine.mm();
    const mirror = createMirror(mm);
    for (const [extent, size] of [['4K', 3 * MiB], ['2M', 6 * MiB], ['1G', 1024 * MiB]] as const) {
      const map = mm.mmap(pmem.file(extent, { size, extent }), { length: size });
      mirror.fault(map.start, size, { write: extent === '2M' });
    }
    const leaves = readTable(machine.memory.buffer, mm.tableRoot);
    const asWalked = [...mm.walk(0n, 1n << 47n)].map(({ addr, pfn, pageSize, writable }) => ({ addr, pfn, pageSize, writable }));
    expect(leaves.map(({ vpn, pfn, level, isWritable }) => ({ addr: BigInt(vpn) * 4096n, pfn: BigInt(pfn), pageSize: ['4K', '2M', '1G'][level], writable: isWritable }))).toEqual(asWalked);
    expect(countBySize(leaves)).toEqual({ '4K': 768, '2M': 3, '1G': 1 });
    expect(readTable(machine.memory.buffer, mirror.tableRoot)).toEqual(leaves);
    machine.dispose();
  });
});
