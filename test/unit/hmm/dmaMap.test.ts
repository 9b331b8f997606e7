/** hmm_range_dma_map() and _unmap(): spec/hmm.md a.7. No kernel was asked: the lines cited are what they are held against. */
import { afterEach, describe, expect, test } from 'vitest';
import { LEGACY_FORMAT } from '../../../dist/dmirror/index.js';
import { InvariantError } from '../../../dist/errno.js';
import { dmaMapPage, dmaUnmapPage, hmmRangeDmaMap, hmmRangeDmaUnmap, newDmaDevice, newRange2019, type DmaDevice, type Range2019, type RangeAnswer } from '../../../dist/hmm/index.js';
import { madviseDontneed } from '../../../dist/mm/index.js';
import { PAGE_DIRTY } from '../../../dist/page/index.js';
import { VALID, WRITE, frameOf, letters, makeRange, type RangeSetup } from '../../support/probe2019.ts';
import { checkPgmaps, makeMachine, type Rig } from '../../support/rig.ts';

afterEach(checkPgmaps);

const AT = 2 ** 20;

/** Maps with mmap_lock held, as a driver does. */
function dmaMap(rig: Rig, range: Range2019, device: DmaDevice, daddrs: Float64Array): RangeAnswer {
  const { sched } = rig.platform;
  rig.run(rig.mm.mmapLock.read(sched));
  const answer = rig.run(hmmRangeDmaMap(range, device, daddrs));
  if (!answer.dropped) rig.mm.mmapLock.readUnlock(sched);
  return answer;
}

function rangeOver(rig: Rig, start: number, npages: number, setup: RangeSetup = {}): { range: Range2019; daddrs: Float64Array; device: DmaDevice; dispose: () => void } {
  return { ...makeRange(rig, start, npages, setup), daddrs: new Float64Array(npages).fill(7), device: newDmaDevice('gpu') };
}

describe('hmm_range_dma_map', () => {
  test('a.7 "direction = TO_DEVICE, or BIDIRECTIONAL when the entry has WRITE"; the count is of pages mapped', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(rig.file({ npages: 4 }), { npages: 4, at: AT, smallPages: true });
    for (const i of [0, 1, 2, 3]) rig.touch(a + i, i === 2 ? 'w' : 'r');
    const { range, daddrs, device, dispose } = rangeOver(rig, a, 4, { defaultFlags: VALID });
    expect(dmaMap(rig, range, device, daddrs)).toEqual({ result: 4, dropped: false });
    expect([...daddrs].map((address) => device.mappings.get(address))).toEqual([0, 1, 2, 3].map((i) => (
      { pfn: frameOf(range.words[i] as bigint), direction: i === 2 ? 'bidirectional' : 'to-device' }
    )));
    expect(hmmRangeDmaUnmap(range, device, daddrs)).toBe(4);
    expect([device.mappings.size, [...daddrs], letters(range.words)]).toEqual([0, [0, 0, 0, 0], '4-']);
    dispose();
  });

  test('a.7 "daddr=0; skip if entry decodes to no page"', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(null, { npages: 8, at: AT });
    rig.touch(a + 1, 'w');
    rig.touch(a + 5, 'w');
    const { range, daddrs, device, dispose } = rangeOver(rig, a, 8);
    expect(dmaMap(rig, range, device, daddrs).result).toBe(2);
    expect([...daddrs].map((address) => address !== 0)).toEqual([false, true, false, false, false, true, false, false]);
    expect(hmmRangeDmaUnmap(range, device, daddrs)).toBe(2);
    dispose();
  });

  test('a.7 "ret = hmm_range_fault; ret<0 returned; ret==0 -> -EBUSY"', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(null, { npages: 4, at: AT });
    const untouched = rangeOver(rig, a, 4);
    expect(dmaMap(rig, untouched.range, untouched.device, untouched.daddrs).result).toBe('EBUSY');
    untouched.range.defaultFlags = VALID; // the page of zeroes
    expect(dmaMap(rig, untouched.range, untouched.device, untouched.daddrs).result).toBe('EFAULT');
    untouched.dispose();
    const nowhere = rangeOver(rig, a + 100, 4, { defaultFlags: VALID });
    expect(dmaMap(rig, nowhere.range, nowhere.device, nowhere.daddrs).result).toBe('EFAULT');
    nowhere.dispose();
  });

  test('a.7 "mapping error -> -EFAULT and unwind": nothing is left mapped, the words stay', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(null, { npages: 8, at: AT });
    const { range, daddrs, dispose } = rangeOver(rig, a, 8, { defaultFlags: VALID | WRITE });
    const device = newDmaDevice('small', 5);
    expect(dmaMap(rig, range, device, daddrs).result).toBe('EFAULT');
    expect([device.mappings.size, letters(range.words)]).toEqual([0, '8VW']);
    expect(daddrs.slice(0, 6).every((address) => address === 0)).toBe(true);
    dispose();
  });

  test('a.7 "if range not valid -> -EBUSY and unwind": an invalidation between two pages', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const { sched } = rig.platform;
    const a = rig.map(null, { npages: 8, at: AT });
    for (let i = 0; i < 8; i++) rig.touch(a + i, 'w');
    const { range, daddrs, device, dispose } = rangeOver(rig, a, 8, { defaultFlags: VALID });
    const open = { event: 'CLEAR', start: a, end: a + 1, blockable: true, owner: null } as const;
    let most = 0;
    const driver = sched.spawn('driver', (function* driver() {
      yield* rig.mm.mmapLock.read(sched);
      const answer = yield* hmmRangeDmaMap(range, device, daddrs);
      if (!answer.dropped) rig.mm.mmapLock.readUnlock(sched);
      return answer;
    })());
    sched.spawn('invalidation', (function* invalidation() {
      yield { kind: 'wait', what: 'three mappings', touches: '*', ready: () => device.mappings.size >= 3, holder: () => null, deadlineNs: Infinity };
      most = device.mappings.size;
      yield* rig.mm.notifiers.start(open);
    })());
    let turn = 0;
    sched.run({ choose: (ready) => turn++ % ready.length });
    expect([driver.result, most >= 3, device.mappings.size, letters(range.words)]).toEqual([{ result: 'EBUSY', dropped: false }, true, 0, '8VW']);
    rig.mm.notifiers.end(open);
    dispose();
  });
});

describe('hmm_range_dma_unmap', () => {
  test('a.7 "-EINVAL if end<=start"', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const { words, offset } = rig.platform.arena.window(4);
    const range = newRange2019({ ...LEGACY_FORMAT, words, out: offset });
    expect(hmmRangeDmaUnmap(range, newDmaDevice('gpu'), new Float64Array(4))).toBe('EINVAL');
  });

  test.each([[true, PAGE_DIRTY], [false, 0]])('a.7 "if WRITE and `dirty` -> set_page_dirty" (dirty %s)', async (dirty, flag) => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(null, { npages: 2, at: AT });
    const { range, daddrs, device, dispose } = rangeOver(rig, a, 2, { defaultFlags: VALID | WRITE });
    dmaMap(rig, range, device, daddrs);
    const pfns = [0, 1].map((i) => frameOf(range.words[i] as bigint));
    for (const pfn of pfns) rig.platform.records.setFlags(pfn, rig.platform.records.flags(pfn) & ~PAGE_DIRTY);
    expect(hmmRangeDmaUnmap(range, device, daddrs, { dirty })).toBe(2);
    expect(pfns.map((pfn) => rig.platform.records.flags(pfn) & PAGE_DIRTY)).toEqual([flag, flag]);
    dispose();
  });

  test('after the pages have gone: the ledger still knows what the device maps, until it is unmapped', async () => {
    const rig = await makeMachine({ profile: 'v5.2' });
    const a = rig.map(rig.file({ npages: 4 }), { npages: 4, at: AT });
    const { range, daddrs, device, dispose } = rangeOver(rig, a, 4, { defaultFlags: VALID | WRITE });
    expect(dmaMap(rig, range, device, daddrs).result).toBe(4);
    rig.run(madviseDontneed(rig.mm, a, 4));
    expect([range.valid, device.mappings.size]).toEqual([true, 4]);
    expect(hmmRangeDmaUnmap(range, device, daddrs, { dirty: true })).toBe(4);
    expect(device.mappings.size).toBe(0);
    dispose();
  });

  test('only what is mapped, the way it was mapped', () => {
    const device = newDmaDevice('gpu');
    const address = dmaMapPage(device, 5, 'to-device');
    expect(() => dmaUnmapPage(device, address, 'bidirectional')).toThrow(InvariantError);
    expect(() => dmaUnmapPage(device, address + 4096, 'to-device')).toThrow(/has not mapped/);
    dmaUnmapPage(device, address, 'to-device');
    expect(() => dmaUnmapPage(device, address, 'to-device')).toThrow(InvariantError);
  });
});

test('arguments that make no sense', async () => {
  const rig = await makeMachine({ profile: 'v5.2' });
  const a = rig.map(null, { npages: 4, at: AT });
  const { range, device, dispose } = rangeOver(rig, a, 4);
  expect(() => rig.run(hmmRangeDmaMap(range, device, new Float64Array(3)))).toThrow(/3 addresses for 4 pages/);
  expect(() => hmmRangeDmaUnmap(range, device, new Float64Array(3))).toThrow(RangeError);
  expect(() => rig.run(hmmRangeDmaMap(range, device, new Float64Array(4), { blocks: true } as never))).toThrow(/unknown option 'blocks'/);
  expect(() => newDmaDevice('gpu', Number.NaN)).toThrow(RangeError);
  dispose();
});
