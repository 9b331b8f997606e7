/** README says what is so: its example is the one that runs, its outputs are what is printed, its names are the program's. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUG_SWITCHES, PROFILES } from '../../dist/index.js';
import { ROOT, daxmirror, mirrorReport, randomFile, temporaryFolder } from '../support/cli.ts';

const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
const folder = temporaryFolder();
const file = randomFile(path.join(folder, 'file'), 5_000_000);

/** The code block that follows the comment `<!-- mark -->`. */
function block(mark: string): string {
  const after = readme.split(`<!-- ${mark} -->\n`)[1] ?? '';
  const found = /^```\w*\n(.*?)^```\n<!-- end -->/ms.exec(after);
  if (found === null) throw new Error(`README has no block marked ${mark}`);
  return found[1] ?? '';
}

function example(name: string): { text: string; output: string } {
  const at = path.join(ROOT, 'examples', name);
  return { text: readFileSync(at, 'utf8'), output: execFileSync(process.execPath, [at], { encoding: 'utf8', cwd: folder }) };
}

/** A report with its numbers and paddings taken out: what is left is the same on every machine. */
function shapeOf(report: string): string[] {
  const lines = report.slice(report.indexOf('\npage')).split('\n');
  return lines.map((line) => line.replace(/\d[\d,.]*/g, 'N').replace(/\b[KMG]iB\b/g, 'B').replace(/ +/g, ' ').trim());
}

describe('README', () => {
  it('says what it is in two sentences, then the two commands', () => {
    const [, intro = '', code = ''] = /^# daxmirror\n\n(.*?)\n\n```sh\n(.*?)```/s.exec(readme) ?? [];
    expect(intro.match(/[.!?](?=\s|$)/g)).toHaveLength(2);
    expect(code.split('\n').map((line) => line.replace(/ *#.*/, ''))).toEqual(['npm ci && npm start', 'npm ci && npm test', '']);
  });

  it('shows the example that runs, in about twenty lines, and what it prints', () => {
    const { text, output } = example('mirror.mjs');
    expect(block('examples/mirror.mjs')).toBe(text);
    expect(text.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(25);
    expect(block('output of examples/mirror.mjs')).toBe(output);
  });

  it('answers how DAX and HMM are regression tested with commands that hold, and find the bug that is put in', () => {
    const section = /\n## How do I regression test DAX \+ HMM\?\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    const [races = '', files = '', broken = ''] = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, code = '']) => code);
    const commands = (code: string): string[][] => [...code.matchAll(/^npx daxmirror (.*?)\s*(?:#.*)?$/gm)].map(([, line = '']) => line.split(' '));
    // The models are explored by tests of their own.
    const quick = [...commands(races).filter(([name]) => name !== 'explore'), ...commands(files)];
    expect(quick).toHaveLength(4);
    for (const args of quick) expect(daxmirror(args).code, args.join(' ')).toBe(0);
    expect(commands(broken)).toHaveLength(6);
    for (const args of commands(broken)) expect(daxmirror(args).code, args.join(' ')).toBe(1);
  });

  it('has a test as an example that passes, and fails where nobody is told of a punch', () => {
    const run = (env: Record<string, string>): string => spawnSync(process.execPath, ['--test', path.join('examples', 'regression.mjs')], { encoding: 'utf8', cwd: ROOT, env: { ...process.env, ...env } }).stdout;
    expect(run({})).toMatch(/pass 4\n.*fail 0/);
    const broken = run({ BUG: 'punch-untold' });
    expect(broken).toMatch(/fail 4/);
    expect(broken).toContain('told-before-taken: punch');
  });

  it('shows the two halves of the example with a Worker, and what it prints', () => {
    const { text, output } = example('workers.mjs');
    const section = /\n## Several threads\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    const halves = [...section.matchAll(/```js\n(.*?)```/gs)].map(([, half = '']) => half.replace(/^(?=.)/gm, '  '));
    expect(halves).toHaveLength(2);
    for (const half of halves) expect(text).toContain(half);
    expect(block('output of examples/workers.mjs')).toBe(output);
  });

  it('shows what a power cut leaves: the example prints it, and a replay finds what is lost', () => {
    expect(block('output of examples/power-cut.mjs')).toBe(example('power-cut.mjs').output);
    const [, command = ''] = /<!-- output of daxmirror (fsx .* --replay \S+) -->/.exec(readme) ?? [];
    expect(block(`output of daxmirror ${command}`)).toBe(daxmirror(command.split(' ')).stdout);
  });

  it('shows what npm start prints', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    expect(scripts['start']).toBe('node dist/cli/main.js mirror');
    expect(shapeOf(block('npm start'))).toEqual(shapeOf(daxmirror(['mirror', file]).stdout));
  });

  it('names every option of the command, and no other', () => {
    const section = /\n## Command line\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    const help = ['mirror', 'bench', 'vmas'].map((command) => daxmirror([command, '--help']).stdout).join('');
    const named = new Set(section.match(/--[a-z]+(?:-[a-z]+)*/g));
    for (const option of named) expect(help, option).toContain(option);
    for (const option of daxmirror(['mirror', '--help']).stdout.match(/^ {2}--[a-z]+/gm) ?? []) expect([...named]).toContain(option.trim());
  });

  it('shows the scenario that is there, and what it prints; names every option of run, and no other', () => {
    const section = /\n## Scenarios: [^\n]*\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    expect(section).toContain(readFileSync(path.join(ROOT, 'examples', 'punch.scn'), 'utf8'));
    expect(block('output of examples/punch.scn').trimEnd()).toBe(daxmirror(['run', path.join('examples', 'punch.scn')]).stdout.trimEnd());
    const help = daxmirror(['run', '--help']).stdout.match(/^ {2}--[a-z-]+/gm)?.map((option) => option.trim()) ?? [];
    expect(new Set(section.match(/--[a-z][a-z-]+/g))).toEqual(new Set(help));
  });

  it('describes every key of --json', () => {
    const section = /### `--json`\n(.*?)\n## /s.exec(readme)?.[1] ?? '';
    const { report } = mirrorReport([file, '--page', '2M']);
    expect([...keysOf(report)].filter((key) => !new RegExp(`(?<![\\w'])'?${key}'?:`).test(section))).toEqual([]);
  });

  it('names profiles and bug switches that exist', () => {
    const section = /### Profiles\n(.*?)\n## Limits/s.exec(readme)?.[1] ?? '';
    for (const name of Object.keys(PROFILES)) expect(section).toContain(`\`${name}\``);
    for (const [, name = ''] of section.matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)) expect(BUG_SWITCHES).toContain(name);
  });

  it('links to files that are there', () => {
    const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, target = '']) => target).filter((target) => !/^https?:/.test(target));
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((target) => !existsSync(path.join(ROOT, target)))).toEqual([]);
  });
});

describe('the embedding example', () => {
  it('has at most 60 lines, imports the package by its name, and all its checks hold', () => {
    const { text, output } = example('embed.mjs');
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(60);
    expect([...text.matchAll(/from '([^']+)'/g)].map(([, spec]) => spec)).toEqual(['node:assert/strict', 'daxmirror']);
    const counts = Object.fromEntries([...output.matchAll(/(\w+): (\d+)/g)].map(([, name = '', count]) => [name, Number(count)]));
    for (const name of ['loads', 'stores', 'misses', 'flushed', 'traps']) expect(counts[name], name).toBeGreaterThan(100);
  });
});

/** Every name of a property anywhere in a JSON value. */
function keysOf(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, inner] of Object.entries(value)) {
    if (!Array.isArray(value)) found.add(key);
    keysOf(inner, found);
  }
  return found;
}
