/** daxmirror vmas --against-host: the running kernel as a second oracle. */
import { spawnSync } from 'node:child_process';
import { release } from 'node:os';
import { describe as always, expect, it as test } from 'vitest';
import { differenceOf, shrink, type Ask } from '../../../dist/cli/vmas/compare.js';
import { knownFor, withoutKnown } from '../../../dist/cli/vmas/known.js';
import { askHost, parseStates, type State } from '../../../dist/cli/vmas/sides.js';
import { AREA_PAGES, randomSteps, type Step } from '../../../dist/cli/vmas/steps.js';
import { ROOT, addon, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
/** Versions that were held against the profiles (src/native/README.md). */
const HELD = /^6\.(1|12|18)\./;
const BASE: Step = { call: 'mmap', page: 2, npages: 3, prot: 'rw', advice: 'dontneed', shared: false, replace: true, newPages: 1, to: null, dontunmap: false, byte: 7 };

function vmas(args: readonly string[], env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['dist/cli/main.js', 'vmas', ...args], { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } });
}

describe('the running kernel', () => {
  it('agrees with the model on random calls (seed 1), where it is not known to differ', () => {
    const { status, stdout, stderr } = vmas(['--against-host', '--ops', '720', '--seed', '1'], { DAXMIRROR_NATIVE: 'on' });
    expect({ stdout, stderr }).toEqual({ stdout: expect.stringContaining(`kernel ${release()} `) as string, stderr: '' });
    // What other kernels do is news, and no failure of ours: the command shows it.
    expect(HELD.test(release()) ? [0] : [0, 1]).toContain(status);
  });

  it('tells errno, areas and bytes of each step, and a parent as it was when it forked', () => {
    const states = askHost(addon(), [BASE, { ...BASE, call: 'store' }, { ...BASE, call: 'fork' }, { ...BASE, call: 'store', byte: 9 }, { ...BASE, call: 'munmap', page: 3, npages: 1 }, { ...BASE, call: 'store', page: 3 }]);
    const bytes = (...first: string[]): string => [...first, ...Array<string>(AREA_PAGES - first.length).fill('--')].join(' ');
    const whole = ['2-5 rw-p'];
    const split = ['2-3 rw-p', '4-5 rw-p'];
    expect(states).toEqual([
      { errno: '0', areas: whole, contents: bytes('--', '--', '00', '00', '00') },
      { errno: '0', areas: whole, contents: bytes('--', '--', '07', '00', '00') },
      { errno: '0', areas: whole, contents: bytes('--', '--', '07', '00', '00') },
      { errno: '0', areas: whole, contents: bytes('--', '--', '09', '00', '00') },
      { errno: '0', areas: split, contents: bytes('--', '--', '09', '--', '00') },
      { errno: 'EFAULT', areas: split, contents: bytes('--', '--', '09', '--', '00') },
      { errno: '0', areas: whole, contents: bytes('--', '--', '07', '00', '00') },
    ]);
  });

  it('takes whole steps and whole pages only', () => {
    expect(() => addon().runMemoryOps(0x2000_0000_0001, 1, new Uint8Array(0))).toThrow(RangeError);
    expect(() => addon().runMemoryOps(0x2000_0000_0000, 1, new Uint8Array(23))).toThrow(RangeError);
  });
});

always('daxmirror vmas', () => {
  test('says in one line what is missing, exit code 2', () => {
    expect(vmas(['--against-host'], { DAXMIRROR_NATIVE: 'off' })).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/^daxmirror: vmas: [^\n]+\n$/) as string });
    expect(vmas([])).toMatchObject({ status: 2, stderr: expect.stringContaining('--against-host') as string });
    expect(vmas(['--against-host', '--ops', '0'])).toMatchObject({ status: 2 });
  });

  test('shrinks to the calls that a difference needs', () => {
    const state = (errno: string): State => ({ errno, areas: [], contents: '' });
    // a kernel that fails each munmap once something was protected
    const ask: Ask = (steps) => {
      const guarded = steps.findIndex(({ call }) => call === 'mprotect');
      return { model: steps.map(() => state('0')), host: steps.map(({ call }, i) => state(guarded >= 0 && i > guarded && call === 'munmap' ? 'EPERM' : '0')) };
    };
    const steps = randomSteps(3n, 200);
    const difference = differenceOf(ask, steps);
    if (difference === null) throw new Error('seed 3 draws no munmap after an mprotect');
    const found = shrink(ask, { steps, difference });
    expect(found.steps.map(({ call }) => call)).toEqual(['mprotect', 'munmap']);
    expect(found.difference).toEqual({ at: 1, what: 'errno', model: '0', host: 'EPERM' });
  });

  test('reports a child that ended early', () => {
    const states = parseStates('E 000\n200000002000-200000005000 rw-p 00000000 00:00 0 \nC 00\n');
    expect(states).toEqual([{ errno: '0', areas: ['2-5 rw-p'], contents: '00' }]);
    expect(differenceOf(() => ({ model: [...states, ...states], host: states }), [])).toMatchObject({ at: 1, what: 'end', host: 'has ended' });
  });

  test('leaves out what is known to differ, on the kernels that do', () => {
    const step: Step = { ...BASE, call: 'mremap', to: 9 };
    const model = (steps: readonly Step[]): State[] => steps.map(() => ({ errno: 'EFAULT', areas: [], contents: '' }));
    expect(withoutKnown([BASE, step, BASE], knownFor('6.17.0-rc1'), model)).toEqual([BASE, BASE]);
    expect(withoutKnown([BASE, step, BASE], knownFor('7.0.1'), model)).toHaveLength(2);
    expect(withoutKnown([BASE, step, BASE], knownFor('6.16.9'), model)).toHaveLength(3);
  });
});
