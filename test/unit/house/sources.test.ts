/** The house rules, over the files as they stand. The checkers themselves are tested in checkers.test.ts. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { BUG_SWITCHES } from '../../../dist/profile/index.js';
import { checkAmbient } from './ambient.ts';
import { checkBitwise } from './bitwise.ts';
import { checkImports, type Source } from './imports.ts';
import { checkLength, checkLock, checkMentioned, checkTraces, checkUnfinished } from './texts.ts';
import { tokenize } from './tokens.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NOT_OURS = new Set(['node_modules', 'dist', 'build', 'coverage', '.git']);

/** Files that git tracks or would track; outside a git checkout all but build outputs. */
function repositoryFiles(): string[] {
  const git = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' });
  const files = git.status === 0 ? git.stdout.split('\0').filter((file) => file !== '') : walk('');
  return files.filter((file) => existsSync(path.join(ROOT, file))).sort();
}

function walk(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : walk(file);
    return [file];
  });
}

/** Texts only: a file with a zero byte in front is none. */
function read(files: readonly string[]): Source[] {
  return files.flatMap((file) => {
    const bytes = readFileSync(path.join(ROOT, file));
    return bytes.subarray(0, 8192).includes(0) ? [] : [{ file, text: bytes.toString('utf8') }];
  });
}

const all = read(repositoryFiles());
const under = (pattern: RegExp): Source[] => all.filter(({ file }) => pattern.test(file));
const src = under(/^src\/.*\.ts$/);
const assembly = under(/^assembly\/.*\.ts$/);
const code = under(/^(?:src|assembly|scripts|bench)\/.*\.(?:ts|mjs|js|cc|h)$/);
/** The checkers' own examples hold what they forbid. */
const checked = all.filter(({ file }) => !/^(?:test\/unit\/house\/|package-lock\.json$)/.test(file));

it('sees the sources', () => {
  expect(src.map(({ file }) => file)).toContain('src/abi.ts');
  expect(assembly.length).toBeGreaterThan(0);
});

it('imports run one way, types too', () => {
  expect(checkImports([...src, ...assembly])).toEqual([]);
});

it('no bitwise operator works on a page number', () => {
  expect(checkBitwise(src)).toEqual([]);
});

it('the model takes clock, chance, log and process from its caller', () => {
  expect(checkAmbient(src)).toEqual([]);
});

it('no file holds a path of a machine or the host of a registry', () => {
  const registry = process.env['npm_config_registry'];
  const host = registry === undefined ? '' : new URL(registry).host;
  const local = [host, path.join(ROOT, '.').replace(/[\\/]$/, ''), os.homedir()].filter((text) => text.length >= 8 && text.includes(text === host ? '.' : path.sep));
  expect(checkTraces(all, local)).toEqual([]);
});

it('the lock file names no host', () => {
  expect(checkLock({ file: 'package-lock.json', text: readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8') })).toEqual([]);
});

it('nothing is marked as unfinished', () => {
  expect(checkUnfinished(checked)).toEqual([]);
});

it('source files stay short', () => {
  expect(checkLength(code)).toEqual([]);
});

it('every bug switch has a test of what it does', () => {
  expect(BUG_SWITCHES.length).toBeGreaterThan(0);
  expect(checkMentioned(BUG_SWITCHES, under(/^test\/regress\/.*\.ts$/), strings)).toEqual([]);
});

function strings(text: string): string[] {
  return tokenize(text).flatMap((token) => (token.kind === 'string' ? [token.text] : []));
}
