import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { daxPunch, daxTruncate, daxWrite, openDaxFile } from '../../dist/dax/index.js';
import { FaultSignal, HmmError } from '../../dist/errno.js';
import type { Inode } from '../../dist/fs/index.js';
import {
  VM_HUGEPAGE, VM_MAYWRITE, VM_NOHUGEPAGE, VM_SHARED, cpuLoad, cpuStore, madviseDontneed, madviseHuge, mmap, mprotect, munmap, type Vma,
} from '../../dist/mm/index.js';
import { NaiveMm, W, type Answer, type NaivePage } from '../support/naiveMm.ts';
import { makeMachine, type Rig } from '../support/rig.ts';
import { leavesOf } from '../support/roomState.ts';

const SPACE = 2048;
const FILE_PAGES = 1100;
/** where the pages that the test plays with begin */
const BASES = [2 ** 20, 2 ** 31 - 1024, 2 ** 34 + 512];

const span = fc.tuple(fc.oneof(fc.nat(SPACE - 1), fc.constantFrom(0, 511, 512, 513, 1024, 1535, 1536)), fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom(511, 512, 513, 1024)));
const prot = fc.constantFrom(0, 1, 1, 3, 3, 3, 5, 7, 2);
const value = fc.integer({ min: 1, max: 255 });
const op = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('map' as const), span, prot, kind: fc.constantFrom('anon' as const, 'file' as const, 'file' as const, 'file' as const, 'shm' as const),
      shared: fc.boolean(), readOnly: fc.boolean(), replace: fc.boolean(), skew: fc.constantFrom(0, 0, 0, 1, 512),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('unmap' as const), span }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('protect' as const), span, prot }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('advise' as const), span, advice: fc.constantFrom('dontneed' as const, 'dontneed' as const, 'huge' as const, 'nohuge' as const) }) },
  { weight: 14, arbitrary: fc.record({ op: fc.constant('store' as const), span, value }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('load' as const), span }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('write' as const), index: fc.nat(FILE_PAGES + 20), value }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('truncate' as const), index: fc.oneof(fc.nat(FILE_PAGES), fc.constantFrom(0, 512, 1024)) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('punch' as const), index: fc.nat(FILE_PAGES), npages: fc.constantFrom(1, 3, 512, 600) }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

/** The real thing, and the table of pages beside it. */
class Pair {
  readonly rig: Rig;
  readonly base: number;
  readonly inode: Inode;
  readonly naive: NaiveMm;
  /** where areas met that were alike but for pages of their own: they may come to share them, and stay apart */
  apart = new Set<number>();

  constructor(rig: Rig, base: number) {
    this.rig = rig;
    this.base = base;
    this.inode = rig.file({ npages: FILE_PAGES });
    const first = Array.from({ length: FILE_PAGES }, (_, i) => (i * 7 + 1) % 251);
    first.forEach((byte, i) => rig.run(daxWrite(this.inode, i * 4096, Uint8Array.of(byte))));
    this.naive = new NaiveMm(SPACE, first);
  }

  step(one: Op): void {
    const { naive, rig, base, inode } = this;
    const [at, npages] = 'span' in one ? [one.span[0], Math.min(one.span[1], SPACE - one.span[0])] : [0, 0];
    const { mm } = rig;
    const byte = new Uint8Array(1);
    switch (one.op) {
      case 'map': {
        const { kind, prot: wanted, readOnly, replace } = one;
        const shared = kind === 'shm' || (kind === 'file' && one.shared);
        const pgoff = kind === 'file' ? (at + one.skew) % 1024 : 0;
        const real = answer(() => {
          const file = kind === 'file' ? openDaxFile(inode, !readOnly) : null;
          rig.run(mmap(mm, { npages, prot: wanted, shared, file, pgoff, start: base + at, fixed: replace ? 'fixed' : 'noreplace', sync: false, vmFlags: 0 }));
        });
        return expect(real).toBe(naive.map(at, npages, { kind, shared, readOnly: kind === 'file' && readOnly, prot: wanted }, pgoff, replace));
      }
      case 'unmap':
        return expect(answer(() => rig.run(munmap(mm, base + at, npages)))).toBe(naive.unmap(at, npages));
      case 'protect':
        return expect(answer(() => rig.run(mprotect(mm, base + at, npages, one.prot)))).toBe(naive.protect(at, npages, one.prot));
      case 'advise': {
        const body = one.advice === 'dontneed' ? madviseDontneed(mm, base + at, npages) : madviseHuge(mm, base + at, npages, one.advice === 'huge');
        return expect(answer(() => rig.run(body))).toBe(naive.advise(at, npages, one.advice));
      }
      case 'load':
        return this.checkLoad(at);
      case 'store':
        byte[0] = one.value;
        return expect(answer(() => rig.run(cpuStore(mm, base + at, 0, byte)))).toBe(naive.store(at, one.value));
      case 'write':
        if (one.index >= naive.file.length) return;
        rig.run(daxWrite(inode, one.index * 4096, Uint8Array.of(one.value)));
        return void naive.write(one.index, one.value);
      case 'truncate':
        rig.run(daxTruncate(inode, one.index * 4096));
        return void naive.truncate(one.index);
      case 'punch':
        rig.run(daxPunch(inode, one.index * 4096, one.npages * 4096));
        return void naive.punch(one.index, one.npages);
    }
  }

  checkLoad(at: number): void {
    const byte = new Uint8Array(1);
    const real = answer(() => this.rig.run(cpuLoad(this.rig.mm, this.base + at, 0, byte)));
    expect(real === 'ok' ? byte[0] : real, `page ${at}`).toBe(this.naive.load(at));
  }

  /** Areas: in order, apart, cut only where they differ, and each page as the table has it. */
  checkAreas(): void {
    const seen = new Array<Vma | null>(SPACE).fill(null);
    let before: Vma | null = null;
    const { apart } = this;
    this.apart = new Set();
    for (const vma of this.rig.mm.vmas) {
      expect(vma.start).toBeLessThan(vma.end);
      if (before !== null) {
        expect(before.end).toBeLessThanOrEqual(vma.start);
        if (before.end === vma.start && alikeAreas(before, vma)) {
          expect(before.anonVma !== vma.anonVma || apart.has(vma.start), `areas meet at page ${vma.start - this.base}`).toBe(true);
          this.apart.add(vma.start);
        }
      }
      before = vma;
      seen.fill(vma, vma.start - this.base, vma.end - this.base);
    }
    for (let i = 0; i < SPACE; i++) {
      const page = this.naive.pages[i] ?? null;
      const vma = seen[i] ?? null;
      if (page === null || vma === null) {
        if (page !== null || vma !== null) throw new Error(`page ${i}: ${page === null ? 'an area where there is none' : 'no area'}`);
      } else if (!alike(page, vma, this.base + i, this.base)) throw new Error(`page ${i}: ${JSON.stringify(page)} is in an area with flags 0x${vma.flags.toString(16)}, page ${vma.pgoffOf(this.base + i)}`);
    }
  }

  /** No leaf outside an area, across its bounds, or with rights that it has not. */
  checkLeaves(): void {
    for (const { vpn, level, lo } of leavesOf(this.rig.mm.pageTable)) {
      const vma = this.rig.mm.vmas.at(vpn);
      expect(vma, `leaf at page ${vpn - this.base}`).not.toBeNull();
      expect(vpn + 512 ** level).toBeLessThanOrEqual(vma!.end);
      expect(vpn % 512 ** level).toBe(0);
      if ((lo & 2) !== 0) expect(vma!.flags & W).toBe(W);
    }
  }
}

function answer(body: () => void): Answer {
  try {
    body();
    return 'ok';
  } catch (error) {
    if (error instanceof FaultSignal) return error.signal;
    if (HmmError.is(error)) return error.code as Answer;
    throw error;
  }
}

/** But for who has pages of its own: which of the two came to have some first decides. */
function alikeAreas(low: Vma, high: Vma): boolean {
  return low.flags === high.flags && low.file?.inode === high.file?.inode && low.pgoffOf(high.start) === high.pgoff;
}

function alike(page: NaivePage, vma: Vma, vpn: number, base: number): boolean {
  const shared = page.shared && !page.readOnly;
  const huge = page.huge === 'as it came' ? page.kind === 'file' : page.huge === 'yes';
  return (
    (vma.flags & 7) === page.prot &&
    ((vma.flags & VM_SHARED) !== 0) === shared &&
    ((vma.flags & VM_MAYWRITE) !== 0) === !(page.shared && page.readOnly) &&
    ((vma.flags & VM_HUGEPAGE) !== 0) === huge &&
    ((vma.flags & VM_NOHUGEPAGE) !== 0) === (page.huge === 'no') &&
    vma.pgoffOf(vpn) === (page.kind === 'anon' ? base + page.pgoff : page.pgoff) &&
    (vma.file?.inode.name ?? 'anon') === { anon: 'anon', file: 'file0', shm: 'zero (deleted)' }[page.kind]
  );
}

/** Two 2M leaves to begin with: what cuts, drops and protects them is half of the matter. */
const HUGE_START: readonly Op[] = [
  { op: 'map', span: [0, 1024], prot: 3, kind: 'file', shared: true, readOnly: false, replace: true, skew: 0 },
  { op: 'store', span: [3, 1], value: 77 },
  { op: 'load', span: [700, 1] },
];

describe('an address space', () => {
  test('does what a table of pages does, through any mmap, munmap, mprotect, madvise, truncate and punch', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...BASES), fc.constantFrom('v6.1', 'v6.12'), fc.boolean(), fc.array(op, { maxLength: 60, size: 'max' }), async (base, profile, huge, ops) => {
        const rig = await makeMachine({ profile, arenaBytes: 32 * 2 ** 20 });
        const pair = new Pair(rig, base);
        for (const one of huge ? [...HUGE_START, ...ops] : ops) {
          pair.step(one);
          pair.checkAreas();
          pair.checkLeaves();
        }
        for (let i = 0; i < SPACE; i += 13) pair.checkLoad(i);
        rig.run(munmap(rig.mm, base, SPACE));
        expect(rig.platform.ram.freePages, 'pages of RAM are all back').toBe(rig.platform.ram.npages);
        expect(rig.mm.pageTable.frames, 'and so are the tables').toBe(1);
      }),
      { numRuns: 80 },
    );
  });
});
