/** `daxmirror bench` as it is run: what it prints, and what it refuses. How long anything takes is nobody's business here. */
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { readReport } from '../../dist/bench/lines.js';
import type { Report, Row } from '../../dist/bench/report.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

function bench(args: readonly string[], env: Readonly<Record<string, string>> = {}): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [MAIN, 'bench', ...args], { encoding: 'utf8', timeout: 110_000, env: { ...process.env, ...env } });
}

describe('bench --quick --json', () => {
  let report: Report;
  let rows: readonly Row[];

  beforeAll(() => {
    report = readReport(execFileSync(process.execPath, [MAIN, 'bench', '--quick', '--json'], { encoding: 'utf8', timeout: 110_000 }), 'stdout');
    rows = report.tables.flatMap((table) => table.rows);
  }, 120_000);

  it('names its schema and says what it ran on', () => {
    expect(report).toMatchObject({ schema: 'daxmirror-bench', version: 2, quick: true, isWhole: true });
    expect(report.tables.map(({ name }) => name)).toEqual(expect.arrayContaining(['walk', 'fill', 'translate']));
    expect(report.host).toMatchObject({ node: process.versions.node, cpus: expect.any(Number) });
    expect(report.clocks.length).toBeGreaterThan(0);
  });

  it('has each page size in the tables of walks and translations', () => {
    for (const table of report.tables.filter(({ name }) => ['walk', 'fill', 'translate'].includes(name))) expect(new Set(table.rows.map(({ pageSize }) => pageSize)), table.name).toEqual(new Set(['4K', '2M', '1G']));
  });

  it('has a null row for each workload, and of walks the walker in all three builds', () => {
    for (const workload of new Set(rows.map((row) => row.workload))) {
      const own = rows.filter((row) => row.workload === workload);
      expect(own.filter((row) => row.isNull), workload).toHaveLength(1);
      if (own[0]?.table !== 'walk') continue;
      expect(own.map(({ contender }) => contender), workload).toEqual(expect.arrayContaining(['walker', 'walker simd', 'walker scalar', 'null']));
      expect(own[0].contender).toBe('walker');
    }
  });

  it('gives numbers with a spread to what was measured, a reason to all else, and a model to walks', () => {
    for (const row of rows) {
      const name = `${row.workload}: ${row.contender}`;
      if (row.table === 'walk' || row.table === 'fill') {
        expect(row.model?.leaves, name).toBeGreaterThan(0);
        expect(row.model?.entries, name).toBeGreaterThan(0);
      }
      if (row.status !== 'measured') {
        expect(row.reason, name).toMatch(/./);
        expect(row.ns, name).toBeNull();
        continue;
      }
      expect(row.rounds, name).toBeGreaterThanOrEqual(9);
      for (const spread of [row.ns, ...Object.values(row.ratios)]) {
        expect(spread?.min, name).toBeGreaterThan(0);
        expect(spread?.median, name).toBeGreaterThanOrEqual(spread?.min ?? Infinity);
        expect(spread?.max, name).toBeGreaterThanOrEqual(spread?.median ?? Infinity);
        expect(spread?.rounds, name).toBeGreaterThanOrEqual(9);
        expect(typeof spread?.isQuiet, name).toBe('boolean');
      }
    }
  });

  it('measures the walker everywhere, in no row with other words than the frames mapped', () => {
    expect(rows.filter((row) => row.contender.startsWith('walker') && row.reason?.includes('word') === true)).toEqual([]);
    expect(rows.filter((row) => row.contender === 'walker').every((row) => row.status === 'measured')).toBe(true);
  });

  it('has the peers when the addon is there, else rows that say why not', () => {
    const peers = rows.filter((row) => ['avx2', 'plain', 'N-API', 'C++ batch'].includes(row.contender));
    expect(peers.length).toBeGreaterThan(0);
    for (const row of peers) {
      if (report.nativeReason !== null) expect(row).toMatchObject({ status: 'missing', reason: `no native addon: ${report.nativeReason}` });
      else expect(row.status === 'measured' || row.reason === 'this CPU cannot run it', `${row.workload}: ${row.contender}: ${row.reason}`).toBe(true);
    }
  });
});

describe('bench', () => {
  it('prints a table for people', () => {
    const { status, stdout, stderr } = bench(['--only', 'scheduler'], { NO_COLOR: '1' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^daxmirror bench, \d{4}-/);
    expect(stdout).toMatch(/empty chain, 4 deep +walker +~?[\d.,]+ \([\d.,]+\.\.[\d.,]+\)/);
    expect(stdout).toMatch(/^ +null +/m);
  });

  it('--must fails where a must could not be measured', () => {
    const { status, stdout } = bench(['--quick', '--only', 'fill', '--must'], { DAXMIRROR_NATIVE: 'off' });
    expect(status).toBe(1);
    expect(stdout).toMatch(/fill 4K, 1 GiB, 512 KiB window +time against avx2 +at most 1\.60 × +– +\? no native addon: switched off by DAXMIRROR_NATIVE=off/);
  }, 120_000);

  it('--must passes where nothing has to be reached', () => {
    expect(bench(['--only', 'scheduler', '--must']).status).toBe(0);
  });

  it.each([
    [['--quik'], /unknown option '--quik'/],
    [['now'], /no workload has 'now' .*in its name; --list prints them/],
    [['fil 4K'], /no workload has 'fil 4K' \(did you mean fill 4K/],
    [['--only', 'walks'], /--only: no table is called 'walks' \(did you mean walk\?\); there are walk, fill, /],
    [['--from', '/nowhere'], /\/nowhere: cannot be read \(no such file or directory\)/],
    [['--compare', MAIN], /main\.js:1: is not JSON, so no line of daxmirror bench --json/],
    [['--html', '/nowhere/x.html', '--only', 'scheduler'], /--html \/nowhere\/x\.html: cannot be written \(no such file or directory\)/],
    [['--json', '--markdown'], /'--json' cannot be used with option '--markdown'/],
    [['--from', MAIN, '--quick'], /--from shows a report as it is/],
    [['--only'], /argument missing/],
    [['--quick', '--only', 'fault'], /--quick has nothing in: fault/],
  ])('refuses %j in one line, exit code 2', (args, message) => {
    const { status, stdout, stderr } = bench(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('refuses an addon that cannot be used', () => {
    const { status, stdout, stderr } = bench(['--quick'], { DAXMIRROR_NATIVE: '/nowhere/daxmirror.node' });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/^daxmirror: loadNative: DAXMIRROR_NATIVE=.* \(ENOENT\)\n$/);
  });
});
