/** The oracle's own tools, as far as they go without QEMU. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { operationsFor, parseScenario } from '../../dist/index.js';

const folder = fileURLToPath(new URL('../oracle/', import.meta.url));
const temporary: string[] = [];

afterEach(() => {
  for (const path of temporary.splice(0)) rmSync(path, { recursive: true, force: true });
});

function run(script: string, args: readonly string[], env: Record<string, string> = {}): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(folder, script), ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
  return { status, stderr };
}

describe('npm run oracle', () => {
  test('says what is not installed, and what to install', () => {
    const { status, stderr } = run('oracle.mjs', ['anon-4k'], { PATH: '' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^oracle: not installed: .*qemu-system-x86.*\nOn Debian: apt-get install /);
  });

  test('an option that it does not have is one line', () => {
    const { status, stderr } = run('oracle.mjs', ['--kernl', '6.1']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^oracle: .*--kernl/);
  });
});

describe('random scenarios', () => {
  const drafts = (family: string): string[] => {
    const dir = mkdtempSync(join(tmpdir(), 'random-'));
    temporary.push(dir);
    expect(run('random.mjs', [dir, family, '--count', '3', '--seed', '5']).status).toBe(0);
    return readdirSync(dir).toSorted().map((file) => readFileSync(join(dir, file), 'utf8'));
  };

  test.each(['anon', 'xfs', 'device', 'devices', 'placed'])('%s: one seed, one text, which can be run', (family) => {
    const texts = drafts(family);
    expect(texts).toEqual(drafts(family));
    for (const text of texts) expect(parseScenario('random.scn', text, operationsFor('modern')).lines.length).toBeGreaterThan(20);
  });

  test('a family that there is not is named', () => {
    expect(run('random.mjs', ['x', 'nosuch'])).toMatchObject({ status: 2, stderr: expect.stringContaining('families: anon') });
  });
});
