/** The command line's manners: help, exit codes, and one clear line for every kind of bad input. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, openSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAIN, ROOT, daxmirror, mirrorReport, randomFile, start, temporaryFolder, type RunOptions } from '../support/cli.ts';
import { BUG_SWITCHES } from '../../dist/index.js';
import { needs } from '../support/skips.ts';

const folder = temporaryFolder();
const small = randomFile(path.join(folder, 'small'), 20_000);
const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };

/** Bad input: nothing on stdout, one line on stderr, exit code 2. */
function refused(args: readonly string[], line: RegExp, options: RunOptions = {}): void {
  const outcome = daxmirror(args, options);
  expect(outcome).toMatchObject({ code: 2, stdout: '' });
  expect(outcome.stderr).toMatch(/^daxmirror: [^\n]+\n$/);
  expect(outcome.stderr).toMatch(line);
}

describe('what it says of itself', () => {
  it('--version is the package’s', () => {
    expect(daxmirror(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('--help names the commands and the exit codes', () => {
    const { code, stdout, stderr } = daxmirror(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: daxmirror/);
    expect(stdout).toMatch(/^ {2}mirror .*^ {2}bench /ms);
    expect(stdout).toMatch(/Exit codes: 0 .* 1 .* 2 /);
  });

  it('mirror --help names every option, every page size, API and bug, and what --write writes', () => {
    const { code, stdout } = daxmirror(['mirror', '--help']);
    expect(code).toBe(0);
    for (const word of ['FILE', '--page', '--api', '--write', '--json', '--bug', '4K', '2M', '1G', '2019', 'modern', 'skip-notifier', 'stale-pfn', 'wrong-frame', 'lost-device-write', 'put back', 'DAXMIRROR_WASM', 'DAXMIRROR_NATIVE']) {
      expect(stdout).toContain(word);
    }
  });
});

describe('a command line that makes no sense is answered with one line and 2', () => {
  const cases: readonly [string, readonly string[], RegExp][] = [
    ['no command', [], /no command given \(known: .*mirror.*, bugs, .*bench/],
    ['an unknown command, with the nearest known one', ['mirro'], /unknown command 'mirro' \(did you mean mirror\?\)/],
    ['an unknown option, with the nearest known one', ['mirror', '--pge', '4K'], /unknown option '--pge' \(did you mean --page\?\)/],
    ['an unknown global option', ['--verzion'], /unknown option '--verzion' \(did you mean --version\?\)/],
    ['an unknown page size', ['mirror', '--page', '3K'], /'3K'.* 4K, 2M, 1G/],
    ['an unknown API', ['mirror', '--api', '2020'], /'2020'.* 2019, modern/],
    ['an unknown bug', ['mirror', '--bug', 'none'], /'none'.* skip-notifier, stale-pfn, wrong-frame, lost-device-write/],
    ['a bug switch that is none of a device', ['mirror', '--bug', 'valid-aba'], /'valid-aba'.* skip-notifier/],
    ['run with an unknown bug, with the nearest known one', ['run', small, '--bug', 'munmap-untol'], /no bug switch 'munmap-untol' \(did you mean munmap-untold\?\)/],
    ['help about an unknown command', ['help', 'mirro'], /unknown command 'mirro' \(did you mean mirror\?\)/],
    ['an option without its value', ['mirror', '--page'], /'--page <SIZE>' argument missing/],
    ['two files', ['mirror', small, small], /too many arguments/],
    ['--write without a file', ['mirror', '--write'], /--write needs a FILE/],
    ['--write on a broken device', ['mirror', small, '--write', '--bug', 'wrong-frame'], /--write and --bug exclude each other/],
  ];
  it.each(cases)('%s', (_name, args, line) => refused(args, line));
});

describe('a file that cannot be mirrored is answered with one line and 2', () => {
  const empty = path.join(folder, 'empty');
  writeFileSync(empty, '');
  const cases: readonly [string, string, RegExp][] = [
    ['a missing one', path.join(folder, 'missing'), /cannot open .*missing: no such file or directory/],
    ['a directory', folder, /is a directory/],
    ['an empty one', empty, /empty is empty/],
    ['a device', '/dev/null', /is no regular file/],
    ['one below a file', path.join(small, 'x'), /cannot open .*: not a directory/],
  ];
  it.each(cases)('%s', (_name, file, line) => refused(['mirror', file], line));

  it('a FIFO, without waiting for its other end', () => {
    const fifo = path.join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    refused(['mirror', fifo], /is no regular file/);
  });

  it('one that is too large for the arena, before it is read: the limit is said', () => {
    const large = path.join(folder, 'large');
    writeFileSync(large, '');
    truncateSync(large, 2 ** 40);
    refused(['mirror', large], /has 1024 GiB; at most 3\.9\d* GiB fit/);
  });

  const denied = needs('root', process.getuid?.() !== 0, import.meta.url);
  denied.it('one that may not be read', () => {
    const file = randomFile(path.join(folder, 'unreadable'), 100);
    chmodSync(file, 0);
    refused(['mirror', file], /cannot open .*unreadable: permission denied/);
  });
  denied.it('with --write, one that may not be written', () => {
    const file = randomFile(path.join(folder, 'read-only'), 100);
    chmodSync(file, 0o444);
    refused(['mirror', file, '--write'], /cannot open for writing .*read-only: permission denied/);
  });
});

describe('what it runs on', () => {
  it.each(['shared', 'simd', 'scalar'] as const)('DAXMIRROR_WASM=%s picks that build', (build) => {
    const { code, report } = mirrorReport([small, '--page', '2M'], { env: { DAXMIRROR_WASM: build } });
    expect({ code, wasm: report.wasm }).toEqual({ code: 0, wasm: build });
  });

  it('an unknown DAXMIRROR_WASM is refused by name', () => {
    refused(['mirror', small], /DAXMIRROR_WASM is 'wide' \(known: shared, simd, scalar\)/, { env: { DAXMIRROR_WASM: 'wide' } });
  });

  it('DAXMIRROR_NATIVE=off reads the file in, and says so', () => {
    const { report } = mirrorReport([small, '--page', '4K', '--api', 'modern'], { env: { DAXMIRROR_NATIVE: 'off' } });
    expect(report).toMatchObject({ passed: true, addonOff: 'switched off by DAXMIRROR_NATIVE=off', file: { access: 'read in' } });
  });

  it('--write without the addon is refused, with the reason', () => {
    refused(['mirror', small, '--write'], /--write needs the native addon: switched off by DAXMIRROR_NATIVE=off/, { env: { DAXMIRROR_NATIVE: 'off' } });
  });

  it('a foreign addon is refused', () => {
    refused(['mirror', small], /DAXMIRROR_NATIVE=.*small: .*ENOEXEC/, { env: { DAXMIRROR_NATIVE: small } });
  });

  it('a missing addon that was asked for by name is refused', () => {
    refused(['mirror', small], /ENOENT/, { env: { DAXMIRROR_NATIVE: path.join(folder, 'missing') } });
  });

  const damages: readonly [string, RegExp, (file: string) => void][] = [
    ['cut short', /walk\.shared\.wasm.*ENOEXEC/, (file) => truncateSync(file, 1000)],
    ['something else', /walk\.shared\.wasm.*ENOEXEC/, (file) => writeFileSync(file, 'no module')],
    ['another module', /not a daxmirror walker.*ENOEXEC|does not fit.*ENOEXEC/, (file) => writeFileSync(file, Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0))],
    ['a build for private memory', /ENOEXEC/, (file) => copyFileSync(file.replace('shared', 'simd'), file)],
  ];
  it.each(damages)('a WASM file that is %s is refused', (name, line, damage) => {
    const copy = path.join(folder, name);
    mkdirSync(copy);
    for (const part of ['dist', 'package.json']) cpSync(path.join(ROOT, part), path.join(copy, part), { recursive: true, filter: (file) => !file.includes('.build') });
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
    damage(path.join(copy, 'dist', 'wasm', 'walk.shared.wasm'));
    refused(['mirror', small], line, { main: path.join(copy, 'dist', 'cli', 'main.js'), env: { DAXMIRROR_WASM: undefined } });
  });
});

describe('what it prints', () => {
  it('has no colours and no progress where there is no terminal', () => {
    const { code, stdout, stderr } = daxmirror(['mirror', small, '--page', '2M']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toContain('\u001b');
  });

  it('--json is one JSON value and nothing else, also when a check failed', () => {
    const { code, stdout, stderr } = daxmirror(['mirror', small, '--page', '2M', '--json', '--bug', 'lost-device-write']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ passed: false, bug: 'lost-device-write' });
  });

  it('a reader that goes away is no error', async () => {
    const { child, ended } = start(['mirror', small, '--page', '2M']);
    child.stdout?.destroy();
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
  });

  it('an output that cannot be written is told in one line', () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'bugs'], { stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'], encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, 'daxmirror: standard output: no space left on device\n']);
  });
});

describe('bug switches', () => {
  it('bugs lists every one, with the fix of those that Linux had', () => {
    const { code, stdout } = daxmirror(['bugs']);
    expect(code).toBe(0);
    const listed = JSON.parse(daxmirror(['bugs', '--json']).stdout) as { name: string; what: string; fixedIn?: string; subject?: string }[];
    expect(listed.map(({ name }) => name)).toEqual(BUG_SWITCHES);
    for (const { name, what, subject } of listed) for (const word of [name, what, subject ?? '']) expect(stdout).toContain(word);
  });

  it('bugs NAME says how it is seen, and what it says works', () => {
    const { stdout } = daxmirror(['bugs', 'swapout-untold']);
    expect(stdout).toMatch(/caught by told-before-taken\n.*--file > swapout-untold.scn\n.*daxmirror run swapout-untold.scn --api 2019 --bug swapout-untold\n/);
    for (const [name, end] of [['swapout-untold', 'scn'], ['write-cached', 'ops']] as const) {
      const file = path.join(folder, `${name}.${end}`);
      writeFileSync(file, daxmirror(['bugs', name, '--file']).stdout);
      const [{ rule, command }] = JSON.parse(daxmirror(['bugs', name, '--json']).stdout) as [{ rule: string; command: string }];
      const shown = daxmirror(command.split(' ').slice(1), { cwd: folder });
      expect(shown.code, shown.stderr).toBe(1);
      expect(shown.stdout).toContain(rule);
    }
    expect(daxmirror(['bugs', 'valid-aba', '--file']).stderr).toMatch(/valid-aba is shown without a file: daxmirror explore valid-aba --bug valid-aba/);
    expect(daxmirror(['bugs', 'valid-abba']).stderr).toMatch(/no bug switch 'valid-abba' \(did you mean valid-aba\?\)/);
  });

  it('run --bug names the operation that broke the rule', () => {
    const scenario = path.join(folder, 'unmap.scn');
    writeFileSync(scenario, '# areas\nmap a 64K anon\ntouch a w\nmap b 64K anon\ntouch b w\nunmap a 64K\nunmap b 64K\n');
    expect(daxmirror(['run', scenario, '--check']).code).toBe(0);
    const { code, stdout } = daxmirror(['run', scenario, '--bug', 'munmap-untold']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/told-before-taken: unmap a 64K/);
    expect(stdout).toMatch(/told-before-taken: unmap b 64K/);
  });
});
