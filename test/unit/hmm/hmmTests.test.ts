/**
 * Those of the kernel's own HMM tests (tools/testing/selftests/mm/hmm-tests.c) in which a device reads and writes ordinary memory, by
 * their kernel names, on both APIs; where the memory is a file's, also with a DAX file. Each asserts what the kernel's asserts: bytes,
 * pages, and that a clean pass over memory the device has not mapped is one fault. Device memory: test/unit/migrate.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import type { DeviceMirror } from '../../../dist/dmirror/index.js';
import { HMM_PFN_ERROR, HMM_PFN_VALID, HMM_PFN_WRITE, hmmRangeFault } from '../../../dist/hmm/index.js';
import { VM_READ, VM_WRITE, cpuStore, exitMm, madviseHuge, mprotect, munmap, type Mm } from '../../../dist/mm/index.js';
import { exploreSchedules } from '../../../dist/sched/index.js';
import { APIS, makeMachine, stalePages, type Rig } from '../../support/rig.ts';

const N = 64;
const HUGE = 512;

describe.each(APIS)('hmm-tests.c by the %s API', (api) => {
  let rig: Rig;
  let device: DeviceMirror;

  beforeEach(async () => {
    rig = await makeMachine();
    device = rig.device(api);
  });

  const anon = (npages = N, prot = 'rw', shared = false): number => rig.map(null, { npages, prot, shared });
  const fill = (at: number, npages = N, from = 1, mm = rig.mm): void => {
    for (let i = 0; i < npages; i++) rig.run(cpuStore(mm, at + i, 0, Uint8Array.of((from + i) % 256)));
  };
  const cpu = (at: number, npages = N, mm = rig.mm): number[] => Array.from({ length: npages }, (_, i) => rig.touch(at + i, 'r', 0, mm));
  const counted = (npages = N, from = 1): number[] => Array.from({ length: npages }, (_, i) => (from + i) % 256);
  const zeroes = (npages: number): number[] => Array.from({ length: npages }, () => 0);
  const errno = (act: () => unknown): string => {
    try {
      act();
      return 'ok';
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  };
  /** HMM_DMIRROR_READ: first bytes of the pages, and how many faults it took. */
  const read = (at: number, npages = N, by = device): { bytes: number[]; faults: number } => {
    const before = by.stats.faults;
    const bytes = new Uint8Array(npages * 4096);
    rig.run(by.read(at, 0, bytes));
    return { bytes: Array.from({ length: npages }, (_, i) => bytes[i * 4096] as number), faults: by.stats.faults - before };
  };
  /** HMM_DMIRROR_WRITE: page i gets `from + i` as its first byte. */
  const write = (at: number, npages = N, from = 101, by = device): number => {
    const before = by.stats.faults;
    const bytes = new Uint8Array(npages * 4096);
    for (let i = 0; i < npages; i++) bytes[i * 4096] = (from + i) % 256;
    rig.run(by.write(at, 0, bytes));
    return by.stats.faults - before;
  };
  const protect = (at: number, npages: number, prot: number): void => rig.run(mprotect(rig.mm, at, npages, prot));
  const fork = (): Mm => rig.run(rig.core.fork(rig.mm, 'child'));

  it('anon_read', () => {
    const at = anon();
    fill(at + 2, N - 2, 3);
    protect(at, N, VM_READ);
    rig.touch(at + 1, 'r'); // the zero page; page 0 has nothing
    expect(read(at)).toEqual({ bytes: [0, 0, ...counted(N - 2, 3)], faults: 1 });
  });

  it('anon_read_prot', () => {
    const at = anon();
    fill(at);
    protect(at, N, 0);
    expect(errno(() => read(at))).toBe(api === 'modern' ? 'EFAULT' : 'EPERM');
    protect(at, N, VM_READ);
    expect(cpu(at)).toEqual(counted());
  });

  it('anon_write', () => {
    const at = anon();
    expect(write(at)).toBe(1);
    expect(cpu(at)).toEqual(counted(N, 101));
  });

  it('anon_write_prot', () => {
    const at = anon(N, 'r');
    expect(read(at, 1)).toEqual({ bytes: [0], faults: 1 });
    expect(errno(() => write(at))).toBe('EPERM');
    expect(cpu(at)).toEqual(zeroes(N));
    protect(at, N, VM_READ | VM_WRITE);
    expect(write(at)).toBe(1);
    expect(cpu(at)).toEqual(counted(N, 101));
  });

  it.each([false, true])('anon_write_child, huge pages %s', (huge) => {
    const npages = huge ? HUGE : N;
    const at = huge ? rig.map(null, { npages, at: 2 ** 20 }) : anon();
    if (huge) rig.run(madviseHuge(rig.mm, at, npages, true));
    fill(at, npages);
    const child = fork();
    expect(cpu(at, npages, child)).toEqual(counted(npages));
    const own = rig.device(api, { name: 'of the child', mm: child });
    expect(write(at, npages, 7, own)).toBe(1);
    expect(cpu(at, npages, child)).toEqual(counted(npages, 7));
    expect(cpu(at, npages)).toEqual(counted(npages));
  });

  it('anon_write_child_shared', () => {
    const at = anon(N, 'rw', true);
    fill(at);
    const child = fork();
    const own = rig.device(api, { name: 'of the child', mm: child });
    expect(write(at, N, 7, own)).toBe(1);
    expect(cpu(at)).toEqual(counted(N, 7));
    rig.run(exitMm(child));
    expect(cpu(at)).toEqual(counted(N, 7));
  });

  it('anon_write_huge', () => {
    const at = rig.map(null, { npages: HUGE, at: 2 ** 20 });
    rig.run(madviseHuge(rig.mm, at, HUGE, true));
    expect(write(at, HUGE)).toBe(1);
    expect(rig.entry(at).level).toBe(1);
    expect(cpu(at, HUGE)).toEqual(counted(HUGE, 101));
  });

  it('file_read, of a DAX file', () => {
    const at = rig.map(rig.file({ npages: N }), { npages: N, prot: 'r' });
    expect(read(at)).toEqual({ bytes: counted(), faults: 1 });
  });

  it('file_write, of a DAX file', () => {
    const file = rig.file({ npages: N });
    const at = rig.map(file, { npages: N });
    expect(write(at)).toBe(1);
    expect(cpu(at)).toEqual(counted(N, 101));
    const { content } = rig.platform.arena;
    const first = new Uint8Array(1);
    for (const { block, pfn, npages } of file.extents) {
      for (let i = 0; i < npages && block + i < N; i++) {
        content.read((pfn + i) * 4096, first, 0, 1);
        expect(first[0], `page ${block + i} of the file`).toBe((101 + block + i) % 256);
      }
    }
  });

  it('anon_read_multiple', () => {
    for (let i = 0; i < 10; i++) {
      const at = anon();
      fill(at, N, i);
      expect(read(at)).toEqual({ bytes: counted(N, i), faults: 1 });
    }
  });

  it.each([['anonymous memory', false], ['a DAX file', true]] as const)('anon_teardown, of %s, in every interleaving', (_name, dax) => {
    // Four pages, the second half unmapped while the device reads: all of it, or an error.
    const ends = new Set<string>();
    const result = exploreSchedules((policy) => {
      rig.core.reset();
      const mm = rig.core.newMm('p');
      const file = dax ? rig.core.newFileSystem('ext4', 4096, 'ext4').create('f', 1) : null;
      if (file !== null) file.fs.setSize(file, 4 * 4096);
      const at = rig.map(file, { npages: 4, mm });
      fill(at, 4, 1, mm);
      const reader = rig.device(api, { mm });
      const bytes = new Uint8Array(4 * 4096);
      const { sched } = rig.platform;
      let end = 'ok';
      sched.spawn('read', (function* body() {
        try {
          yield* reader.read(at, 0, bytes);
        } catch (error) {
          end = (error as { code?: string }).code ?? 'unknown';
        }
      })());
      sched.spawn('munmap', munmap(mm, at + 2, 2));
      sched.run(policy);
      if (end === 'ok') expect([0, 1, 2, 3].map((i) => bytes[i * 4096])).toEqual([1, 2, 3, 4]);
      expect(stalePages(reader, at, at + 4)).toEqual([]);
      ends.add(end);
      return sched;
    });
    expect(result.complete).toBe(true);
    expect([...ends].toSorted()).toEqual(['EFAULT', 'ok']);
  });

  // Snapshots by the API of 2019: test/unit/hmm/range2019.
  if (api === '2019') return;

  it('snapshot', () => {
    const at = anon(5);
    const NONE = 0x00;
    const READ = 0x01;
    const WRITE = 0x02;
    const ZERO = 0x10;
    const ERROR = 0xff;
    protect(at, 1, 0);
    rig.run(munmap(rig.mm, at + 1, 1));
    rig.touch(at + 2, 'r');
    fill(at + 3, 2);
    protect(at + 2, 2, VM_READ);
    expect(snapshot(rig, at, 5)).toEqual([ERROR, ERROR, READ | ZERO, READ, WRITE]);
    expect(snapshot(rig, at + 1, 1)).not.toEqual([NONE]);
  });

  it('compound, of a DAX file', () => {
    const PMD = 0x04;
    const at = rig.map(rig.file({ npages: HUGE }), { npages: HUGE });
    fill(at, 1);
    expect(new Set(snapshot(rig, at, HUGE))).toEqual(new Set([0x02 | PMD]));
    protect(at, HUGE, VM_READ);
    expect(new Set(snapshot(rig, at, HUGE))).toEqual(new Set([0x01 | PMD]));
  });
});

/** HMM_DMIRROR_SNAPSHOT: a byte a page, as lib/test_hmm.c makes it. */
function snapshot(rig: Rig, start: number, npages: number): number[] {
  const { mm, platform } = rig;
  const { notifiers } = mm;
  const sub = notifiers.insert('snapshot', start, start + npages, function* heard(_range, seq) {
    notifiers.setSeq(sub, seq);
    return true;
  });
  const window = platform.arena.window(npages);
  const seq = rig.run(notifiers.readBegin(sub));
  const error = rig.run(hmmRangeFault({ mm, notifier: sub, seq, start, end: start + npages, words: window.words, out: window.offset, defaultFlags: 0n, pfnFlagsMask: 0n }));
  expect(error).toBeNull();
  const bytes = Array.from(window.words, (word) => {
    if ((word & HMM_PFN_ERROR) !== 0n) return 0xff;
    if ((word & HMM_PFN_VALID) === 0n) return 0;
    const order = Number((word >> BigInt(platform.profile.hmmOrderShift)) & 31n);
    const pfn = Number(word & 0xff_ffff_ffffn);
    return ((word & HMM_PFN_WRITE) === 0n ? 1 : 2) | (order === 9 ? 4 : order === 18 ? 8 : 0) | (platform.ram.isZero(pfn) ? 0x10 : 0);
  });
  window.free();
  rig.run(notifiers.remove(sub));
  return bytes;
}
