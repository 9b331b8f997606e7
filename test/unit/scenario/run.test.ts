/** How a script is carried out: names, children, threads in virtual time, what a shell may be asked, and the ends that a run may come to. */
import { describe, expect, test } from 'vitest';
import { operationsFor, parseScenario, probeOf, runScenario, type Answer, type ScenarioRecord } from '../../../dist/scenario/index.js';

async function run(lines: readonly string[], profile = 'v6.1'): Promise<ScenarioRecord> {
  return await runScenario(parseScenario('x.scn', lines.join('\n'), operationsFor(probeOf(profile))), { profile });
}

/** The answers without number, text and areas. */
async function answers(lines: readonly string[], profile?: string): Promise<Answer[]> {
  return (await run(lines, profile)).ops.map(({ i: _i, op: _op, vmas: _vmas, ...answer }) => answer);
}

async function last(lines: readonly string[], profile?: string): Promise<Answer | undefined> {
  return (await answers(lines, profile)).at(-1);
}

const FILE = ['fs ext4', 'open f ext4:f', 'pwrite f 0 8K', 'map a 8K f'];

describe('names', () => {
  test('an address is told by the area that begins last at or below it', async () => {
    const two = ['map a 64K anon', 'map b 4K anon at=a+32K'];
    expect(await last([...two, 'unmap a 64K', 'touch a+36K r'])).toMatchObject({ err: 'SIGSEGV', addr: 'b+0x1000' });
  });

  test('of two areas at one address by the one in the earlier slot', async () => {
    expect((await run(['fs ext4', 'open f ext4:f', 'map a 4K anon', 'close f', 'map b 4K anon at=a'])).ops.at(-1)?.['vmas']).toMatchObject([{ at: 'b+0x0' }]);
    expect((await run(['map a 4K anon', 'map b 8K anon at=a'])).ops.at(-1)?.['vmas']).toMatchObject([{ at: 'a+0x0' }]);
  });

  test('thirty-two of them; with one more the runner gives up', async () => {
    const holes = Array.from({ length: 33 }, (_, i) => `hole h${i} 4K`);
    expect(await run(holes.slice(0, 32))).toMatchObject({ result: 'ok' });
    expect(await run([...holes, 'note'])).toMatchObject({ result: 'failed', ops: { length: 32 }, klog: ['too many names'] });
  });

  test('a place is free again when its name was taken back', async () => {
    const again = Array.from({ length: 40 }, () => ['open f ext4:f', 'close f']).flat();
    expect(await run(['fs ext4', ...again])).toMatchObject({ result: 'ok' });
  });

  test('a name that was taken back is passed over', async () => {
    expect(await last(['fs ext4', 'open f ext4:f', 'close f', 'stat f'])).toEqual({ skip: 'no file f' });
  });

  test('names of objects in this language are names like others', async () => {
    expect(await last(['map constructor 4K anon', 'touch constructor w'])).toEqual({ err: 'ok' });
    expect(await last(['open f dev:constructor'])).toEqual({ err: 'ENOENT' });
    expect(await last(['fs ext4', 'open f ext4:__proto__', 'stat f'])).toMatchObject({ size: '0x0' });
  });
});

describe('children', () => {
  test('answer with their name and the number of the line that forked them', async () => {
    const { ops } = await run(['map a 4K anon', 'fork c', 'in c touch  a w', 'join c']);
    expect(ops.slice(2)).toEqual([{ i: 2, who: 'c', op: 'touch a w', err: 'ok' }, { i: 4, op: 'join c', exit: 0 }]);
  });

  test('that were joined are passed over', async () => {
    expect(await last(['fork c', 'join c', 'in c note'])).toEqual({ skip: 'no child c' });
  });
});

describe('threads', () => {
  test('run while the first one waits, and not before', async () => {
    const lines = ['map a 4K anon', 'async t touch a w byte=7', 'peek a 1', 'wait t', 'peek a 1'];
    expect((await answers(lines)).slice(2)).toEqual([{ err: 'ok', bytes: [[1, 0]] }, { async: 'touch a w byte=7', done: true, err: 'ok' }, { err: 'ok', bytes: [[1, 7]] }]);
  });

  test('time is virtual: a minute of sleep takes none', async () => {
    const before = performance.now();
    expect(await answers(['async t sleep 60000', 'wait t 100', 'wait t 61000', 'wait t'])).toEqual([
      { err: 'ok' }, { async: 'sleep 60000', done: false }, { async: 'sleep 60000', done: true, err: 'ok' }, { skip: 'no async t' },
    ]);
    expect(performance.now() - before).toBeLessThan(10_000);
  });

  test('one that waits for a pin goes on when that is given back', async () => {
    const lines = [...FILE, 'pin p a 1 w', 'async t truncate f 0', 'wait t', 'unpin p', 'wait t', 'stat f'];
    expect((await answers(lines)).slice(6)).toMatchObject([{ done: false }, { err: 'ok' }, { done: true, err: 'ok' }, { size: '0x0' }]);
  });

  test('a signal in one is its answer', async () => {
    expect(await last(['map a 4K anon', 'async t touch a+4K w', 'wait t'])).toEqual({ async: 'touch a+4K w', done: true, err: 'SIGSEGV', code: 'MAPERR', addr: 'a+0x1000' });
  });
});

describe('the ends of a run', () => {
  test('a wait that nobody can end: the line has no answer, the log says who waits for what', async () => {
    const { result, ops, klog } = await run([...FILE, 'pin p a 1 w', 'truncate f 0', 'unpin p']);
    expect([result, ops.length, klog]).toEqual(['timeout', 5, ['deadlock: main waits for a pinned page of f']]);
  });

  test('also where a thread holds what is waited for', async () => {
    const { result, klog } = await run([...FILE, 'pin p a 1 w', 'async t truncate f 0', 'wait t 40', 'pwrite f 0 4K', 'unpin p']);
    expect(result).toBe('timeout');
    expect(klog[0]).toMatch(/^deadlock: main waits for i_rwsem .*, held by t: truncate f 0$/);
    expect(klog[1]).toBe('deadlock: t: truncate f 0 waits for a pinned page of f');
  });

  test('a crash, in a thread as in the process', async () => {
    const gap = ['map a 16K anon', 'map b 16K anon at=a+32K'];
    expect(await run([...gap, 'fault a+16K 32K', 'note'], 'v5.2')).toMatchObject({ result: 'crash', ops: { length: 2 } });
    expect(await run([...gap, 'async t fault a+16K 32K', 'wait t', 'note'], 'v5.2')).toMatchObject({ result: 'crash', ops: { length: 3 } });
  });

  test('two minutes gone by', async () => {
    expect(await run(['async t sleep 120000', 'wait t 100000', 'wait t 100000', 'note'])).toMatchObject({ result: 'timeout', ops: { length: 2 } });
  });
});

describe('what a shell may be asked', () => {
  test('zeroes into a file until the device is full', async () => {
    expect(await answers(['fs ext4', 'sh dd if=/dev/zero of=/mnt/ext4/h bs=4k count=16', 'open f ext4:h', 'stat f'])).toMatchObject([{}, { exit: 0 }, {}, { size: '0x10000' }]);
    expect(await last(['fs ext4', 'sh dd if=/dev/zero of=/mnt/ext4/h bs=4k count=900000 2>/dev/null'])).toEqual({ exit: 1 });
  });

  test('anything else is passed over, with a reason', async () => {
    expect(await last(['sh rm -rf /'])).toEqual({ skip: 'no such command here' });
  });
});

test('each run has a machine of its own', async () => {
  const lines = ['fs ext4', 'open f ext4:f', 'pwrite f 0 8K 5', 'map a 8K f', 'fault a 8K w', 'extents f'];
  expect(await run(lines)).toEqual(await run(lines));
});
