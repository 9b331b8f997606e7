/** What must agree with a kernel's record, what may differ, and that frames agree up to renaming. */
import { describe, expect, test } from 'vitest';
import { agreesWhole, compareRecords, type Answer, type Comparison } from '../../../dist/scenario/index.js';

function compare(want: readonly Answer[], got: readonly Answer[], results: readonly [string, string] = ['ok', 'ok']): Comparison {
  const op = (answer: Answer, i: number): Answer => ({ i: i + 1, op: `op ${i}`, ...answer });
  return compareRecords({ result: results[0], ops: want.map(op) }, { result: results[1], ops: got.map(op) });
}

/** Members that differ: of the contract, and of the rest in brackets. */
function differing(want: Answer, got: Answer): string[] {
  return compare([want], [got]).differences.flatMap(({ contract, detail }) => [...contract, ...detail.map((key) => `(${key})`)]);
}

const run = (n: number, at: string, more: Answer = {}): Answer => ({ n, f: 'VW', k: 'ext4', cong: '4K', at, ...more });
const event = (type: string, start: string, end: string, more: Answer = {}): Answer => ({ type, start, end, block: true, ...more });

describe('plain members', () => {
  test.each([
    ['an errno', { err: 'ok' }, { err: 'EFAULT' }, ['err']],
    ['a member that is not there', { err: 'ok', busy: true }, { err: 'ok' }, ['busy']],
    ['one that is there too many', { err: 'ok' }, { err: 'ok', busy: true }, ['busy']],
    ['bytes', { bytes: [[4096, 1]] }, { bytes: [[4095, 1], [1, 0]] }, ['bytes']],
    ['counts of a struct page', { page: ['valid'], refs: 2 }, { page: ['valid'], refs: 3 }, ['(refs)']],
    ['blocks', { size: '0x0', blocks: 8 }, { size: '0x0', blocks: 16 }, ['(blocks)']],
    ['areas', { vmas: [{ at: 'a+0x0', perm: 'rw-p' }] }, { vmas: [{ at: 'a+0x0', perm: 'r--p' }] }, ['vmas']],
    ['members of an area in another order', { vmas: [{ at: 'a+0x0', perm: 'rw-p' }] }, { vmas: [{ perm: 'rw-p', at: 'a+0x0' }] }, []],
    ['signals', { signals: [{ sig: 'SIGBUS' }] }, {}, ['signals']],
    ['what nobody compares', { note: 1 }, { note: 2 }, []],
  ])('%s', (_, want, got, keys) => {
    expect(differing(want, got)).toEqual(keys);
  });
});

describe('walked pages', () => {
  test('runs may be cut elsewhere: that is detail', () => {
    expect(differing({ pfns: [run(4, '+0x0')] }, { pfns: [run(1, '+0x0'), run(3, '+0x1000')] })).toEqual(['(pfns)']);
  });

  test.each([
    ['flags', [run(4, '+0x0')], [run(4, '+0x0', { f: 'V' })]],
    ['order', [run(4, '+0x0', { o: 9 })], [run(4, '+0x0')]],
    ['kind', [run(4, '+0x0')], [run(4, '+0x0', { k: 'xfs' })]],
    ['congruence', [run(4, '+0x0')], [run(4, '+0x0', { cong: '2M' })]],
    ['a page fewer', [run(4, '+0x0')], [run(3, '+0x0')]],
    ['a page more', [run(4, '+0x0')], [run(5, '+0x0')]],
    ['no frame', [run(4, '+0x0')], [{ n: 4, f: 'VW', k: 'ext4', cong: '4K' }]],
    ['no list', [run(4, '+0x0')], undefined],
  ])('%s must agree', (_, want, got) => {
    expect(differing({ pfns: want }, { pfns: got })).toContain('pfns');
  });

  test('frames agree up to renaming', () => {
    const { agree } = compare([{ pfns: [run(2, '+0x0')] }, { pfns: [run(1, '+0x1000')] }], [{ pfns: [run(2, '+0x8000')] }, { pfns: [run(1, '+0x9000')] }]);
    expect(agree).toBe(2);
  });

  test('one frame there is one frame here, over the whole record', () => {
    const { agree, differences } = compare([{ pfns: [run(1, '+0x0')] }, { pfns: [run(1, '+0x0')] }], [{ pfns: [run(1, '+0x0')] }, { pfns: [run(1, '+0x1000')] }]);
    expect([agree, differences.at(-1)?.contract]).toEqual([1, ['pfns']]);
  });

  test('two frames there are two here', () => {
    expect(compare([{ pfns: [run(1, '+0x0')] }, { pfns: [run(1, '+0x1000')] }], [{ pfns: [run(1, '+0x0')] }, { pfns: [run(1, '+0x0')] }]).agree).toBe(1);
  });

  test('frames of one number in two devices are two', () => {
    const both = [run(1, '+0x0'), run(1, '+0x0', { k: 'xfs' })];
    expect(differing({ pfns: both }, { pfns: both })).toEqual([]);
  });
});

describe('extents', () => {
  const extent = (off: string, len: string, at: string, f = ''): Answer => ({ off, len, at, f });
  test.each([
    ['cut elsewhere', [extent('0x0', '0x2000', '+0x0')], [extent('0x0', '0x1000', '+0x0'), extent('0x1000', '0x1000', '+0x1000')], ['(extents)']],
    ['which one is the last', [extent('0x0', '0x2000', '+0x0', 'last')], [extent('0x0', '0x2000', '+0x0')], ['(extents)']],
    ['elsewhere in the file', [extent('0x0', '0x1000', '+0x0')], [extent('0x1000', '0x1000', '+0x0')], ['(extents)', 'extents']],
    ['unwritten', [extent('0x0', '0x1000', '+0x0', 'unwritten ')], [extent('0x0', '0x1000', '+0x0')], ['(extents)', 'extents']],
    ['a hole filled', [extent('0x0', '0x1000', '+0x0'), extent('0x2000', '0x1000', '+0x2000')], [extent('0x0', '0x3000', '+0x0')], ['(extents)', 'extents']],
  ])('%s', (_, want, got, keys) => {
    const found = differing({ extents: want }, { extents: got });
    expect(found).toEqual(keys.includes('extents') ? ['extents'] : keys);
  });
});

describe('invalidations', () => {
  test.each([
    ['told twice', [event('CLEAR', '+0x0', '+0x2000')], [event('CLEAR', '+0x0', '+0x2000'), event('CLEAR', '+0x0', '+0x2000')], ['(events)']],
    ['told in parts, in another order', [event('CLEAR', '+0x0', '+0x2000')], [event('CLEAR', '+0x1000', '+0x2000'), event('CLEAR', '+0x0', '+0x1000')], ['(events)']],
    ['of another type', [event('CLEAR', '+0x0', '+0x2000')], [event('UNMAP', '+0x0', '+0x2000')], ['events']],
    ['that may not wait', [event('CLEAR', '+0x0', '+0x2000')], [event('CLEAR', '+0x0', '+0x2000', { block: false })], ['events']],
    ['over more', [event('CLEAR', '+0x0', '+0x2000')], [event('CLEAR', '-0x1000', '+0x2000')], ['events']],
    ['with a gap', [event('CLEAR', '+0x0', '+0x3000')], [event('CLEAR', '+0x0', '+0x1000'), event('CLEAR', '+0x2000', '+0x3000')], ['events']],
    ['that did not come', [event('CLEAR', '+0x0', '+0x2000')], [], ['events']],
  ])('%s', (_, want, got, keys) => {
    expect(differing({ events: want }, { events: got })).toEqual(keys);
  });
});

describe('the whole', () => {
  test('a result must agree, and the number of operations', () => {
    expect(agreesWhole(compare([{ err: 'ok' }], [{ err: 'ok' }]))).toBe(true);
    expect(agreesWhole(compare([{ err: 'ok' }], [{ err: 'ok' }], ['crash', 'ok']))).toBe(false);
    expect(agreesWhole(compare([{ err: 'ok' }], [{ err: 'ok' }, { err: 'ok' }]))).toBe(false);
    expect(agreesWhole(compare([{ err: 'ok' }, { err: 'ok' }], [{ err: 'ok' }]))).toBe(false);
  });

  test('answers of another operation, or another process, are none', () => {
    const ops = [{ i: 1, op: 'touch a w', err: 'ok' }];
    for (const got of [{ i: 1, op: 'touch a r', err: 'ok' }, { i: 1, who: 'c', op: 'touch a w', err: 'ok' }]) {
      expect(compareRecords({ result: 'ok', ops }, { result: 'ok', ops: [got] }).differences[0]?.contract).toEqual(['missing or out of order']);
    }
  });
});
