/** scripts/build-native.mjs: builds what changed, from what is found here, and says what is missing. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildNative } from '../../../scripts/build-native.mjs';
import { ROOT, temporaryFolder, withAddon } from './addon.ts';

const compiled = withAddon(import.meta.url);
const folder = temporaryFolder();
const SCRIPT = path.join(ROOT, 'scripts/build-native.mjs');

function build(args: string[], env: Record<string, string>): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], { encoding: 'utf8', env, timeout: 120_000 });
  return { status, stdout, stderr };
}

describe('a machine without a compiler', () => {
  it('is told in one line what is off and how to get it, and it is no failure', () => {
    const { status, stdout, stderr } = build([], { PATH: folder });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^native addon not built: no C\+\+ compiler\. Without it .*off\. To get it: .*npm run build:native\.\n$/);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  });

  it('fails where the addon is required', () => {
    expect(build(['--require'], { PATH: folder }).status).toBe(1);
  });

  it('an unknown flag is named', () => {
    expect(build(['--forse'], { PATH: folder })).toEqual({ status: 1, stdout: '', stderr: 'build-native: unknown flag --forse (known: --force, --quiet, --require)\n' });
  });
});

compiled.describe('a build', () => {
  compiled.it('with nothing to do changes nothing and leaves nothing behind', async () => {
    const first = await buildNative({ quiet: true });
    expect(first).toMatchObject({ built: true, reason: null });
    const before = statSync(first.path as string, { bigint: true }).mtimeNs;
    const started = performance.now();
    expect(await buildNative({ quiet: true })).toEqual({ built: true, reason: null, upToDate: true, path: first.path });
    expect(performance.now() - started).toBeLessThan(5000);
    expect(statSync(first.path as string, { bigint: true }).mtimeNs).toBe(before);
    expect(readdirSync(path.dirname(first.path as string)).filter((name) => !/^(?:daxmirror\.node(?:\.json)?|.*\.js|.*\.d\.ts)$/.test(name))).toEqual([]);
    expect(readdirSync(path.join(ROOT, 'src/native'))).not.toContain('build');
  }, 120_000);

  compiled.it('holds no path of the machine that made it', () => {
    const bytes = readFileSync(path.join(ROOT, 'dist/native/daxmirror.node'), 'latin1');
    expect(bytes.includes(ROOT)).toBe(false);
  });
});
