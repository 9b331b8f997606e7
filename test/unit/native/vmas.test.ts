/** daxmirror vmas --against-host: the running kernel as a second oracle. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { release } from 'node:os';
import { describe as always, expect, it as test } from 'vitest';
import { differenceOf, shrink, type Ask } from '../../../dist/cli/vmas/compare.js';
import { hostOf, knownFor, profileOn, withoutKnown, type Known } from '../../../dist/cli/vmas/known.js';
import { askHost, askModel, lockedPagesMax, parseStates, type State } from '../../../dist/cli/vmas/sides.js';
import { AREA_PAGES, FAMILIES, FAMILY_NAMES, FILE_PAGES, randomSteps, stepText, type Step } from '../../../dist/cli/vmas/steps.js';
import { MachineCore } from '../../../dist/machine.js';
import { PROFILES } from '../../../dist/profile/index.js';
import { ROOT, addon, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
/** Versions that were held against the profiles (src/native/README.md). */
const HELD = /^6\.(1|12|18)\./;
const BASE: Step = { call: 'mmap', page: 2, npages: 3, prot: 'rw', advice: 'dontneed', shared: false, replace: true, filePage: null, extra: null, sync: 'sync', newPages: 1, to: null, dontunmap: false, byte: 7 };

function vmas(args: readonly string[], env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['dist/cli/main.js', 'vmas', ...args], { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } });
}

describe('the running kernel', () => {
  it('agrees with the model on random calls of every family (seed 1), where it is not known to differ', () => {
    const { status, stdout, stderr } = vmas(['--against-host', '--ops', '480', '--seed', '1'], { DAXMIRROR_NATIVE: 'on' });
    expect({ stdout, stderr }).toEqual({ stdout: expect.stringContaining(`kernel ${release()} `) as string, stderr: '' });
    for (const name of FAMILY_NAMES) if (name !== 'locked' || lockedPagesMax() >= AREA_PAGES) expect(stdout).toContain(name);
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

  it('maps a file, shared and private, and tells where in it an area lies', () => {
    const map: Step = { ...BASE, npages: 2, filePage: FILE_PAGES - 1, shared: true };
    const states = askHost(addon(), [map, { ...BASE, call: 'write', page: FILE_PAGES - 1, byte: 5 }, { ...map, page: 8, filePage: 0, shared: false, npages: 1 }, { ...BASE, call: 'truncate', npages: 3 }]);
    const areas = ['2-4 rw-s memfd:vmas+15', '8-9 rw-p memfd:vmas+0'];
    const bytes = (second: string, eighth: string): string => Array.from({ length: AREA_PAGES }, (_, i) => (i === 2 ? second : i === 8 ? eighth : '--')).join(' ');
    expect(states).toEqual([
      { errno: '0', areas: areas.slice(0, 1), contents: bytes('00', '--') },
      { errno: '0', areas: areas.slice(0, 1), contents: bytes('05', '--') },
      { errno: '0', areas, contents: bytes('05', '00') },
      { errno: '0', areas, contents: bytes('--', '00') },
    ]);
  });

  it('is interrupted, and says how to go on', async () => {
    const child = spawn(process.execPath, ['dist/cli/main.js', 'vmas', '--against-host', '--ops', '10000000', '--family', 'anon'], { cwd: ROOT, env: { ...process.env, DAXMIRROR_NATIVE: 'on' } });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    // there is nothing to hear before the first sequence: asked again until it ends
    const asking = setInterval(() => child.kill('SIGINT'), 1500);
    const [status] = (await once(child, 'close')) as [number];
    clearInterval(asking);
    expect(said).toMatch(/^interrupted: kernel .* agree on \d+ calls in \d+ sequences, seed 1\nto go on: daxmirror vmas --against-host --family anon --ops \d+ --seed \d+\n$/);
    expect(status).toBe(130);
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
    const steps = randomSteps(3n, 200, 'anon');
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
    const on = (kernel: string, built = true): readonly Known[] => knownFor(hostOf(kernel, () => built));
    expect(withoutKnown([BASE, step, BASE], on('6.17.0-rc1'), model)).toEqual([BASE, BASE]);
    expect(withoutKnown([BASE, step, BASE], on('7.0.1'), model)).toHaveLength(2);
    expect(withoutKnown([BASE, step, BASE], on('6.16.9'), model)).toHaveLength(3);
    const huge: Step = { ...BASE, call: 'madvise', advice: 'hugepage' };
    expect(withoutKnown([BASE, huge], on('6.1.0'), model)).toHaveLength(2);
    expect(withoutKnown([BASE, huge], on('6.1.0', false), model)).toEqual([BASE]);
  });

  test('lets areas merge as the running kernel does', async () => {
    // 264 of the family locked: part of an area with pages meets one that has none
    const steps: readonly Step[] = [{ ...BASE, page: 12, npages: 6 }, { ...BASE, call: 'mlock', page: 14 }, { ...BASE, call: 'munlock', page: 16 }];
    const areasOn = async (kernel: string): Promise<readonly string[]> => {
      const core = await MachineCore.create({ arena: { bytes: 64 * 2 ** 20 }, profile: profileOn(hostOf(kernel, () => true), PROFILES['v6.12']), bugs: [], seed: 1n, ramPages: 8192, levels: 4 });
      return askModel(core, steps).at(-1)?.areas ?? [];
    };
    expect(await areasOn('6.15.0')).toEqual(['12-14 rw-p', '14-16 rw-p', '16-17 rw-p', '17-18 rw-p']);
    expect(await areasOn('6.18.1')).toEqual(['12-14 rw-p', '14-16 rw-p', '16-18 rw-p']);
  });

  test('names the families, and the nearest one of a wrong name', () => {
    expect(vmas(['--against-host', '--family', 'anon,fiel'])).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/'fiel' \(did you mean file\?\); there are anon, file, [^\n]*\n$/) as string });
    expect(vmas(['--against-host', '--famly', 'file'])).toMatchObject({ status: 2, stderr: expect.stringContaining('did you mean --family?') as string });
  });

  test.each(FAMILY_NAMES)('draws every call and every advice of the family %s', (family) => {
    const texts = new Set(randomSteps(1n, 4000, family).map((step) => (step.call === 'madvise' ? step.advice : step.call)));
    expect([...texts].sort()).toEqual([...new Set<string>([...FAMILIES[family].calls, ...FAMILIES[family].advice])].filter((word) => word !== 'madvise').sort());
  });

  test('writes a step as a line', () => {
    expect(stepText({ ...BASE, shared: true, filePage: 4, extra: 'locked' })).toBe('mmap 2+3 file+4 rw shared fixed locked');
    expect(stepText({ ...BASE, call: 'msync', sync: 'async' })).toBe('msync 2+3 async');
    expect(stepText({ ...BASE, call: 'truncate', page: 0, npages: 0 })).toBe('truncate 0');
  });
});
