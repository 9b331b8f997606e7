/**
 * The main job on real files: counts against formulas, bytes against SHA-256, and every bug switch found, for every page size and API.
 *
 * The formulas are made here from the file's length alone (and from where the report says that it wrote), not from the program's code.
 */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ApiName, Invalidated, MirrorReport, RunResult } from '../../dist/cli/mirror/data.js';
import { printReport } from '../../dist/cli/mirror/report.js';
import { daxmirror, fingerprint, mirrorReport, randomFile, sparseFile, temporaryFolder } from '../support/cli.ts';

const LEAF_BYTES = { '4K': 2 ** 12, '2M': 2 ** 21, '1G': 2 ** 30 } as const;
type PageSize = keyof typeof LEAF_BYTES;
const PAGES = Object.keys(LEAF_BYTES) as PageSize[];
const APIS: readonly ApiName[] = ['2019', 'modern'];
const STEPS = ['fill', 'read', 'device-write', 'cpu-write', 'atomic', 'fsync', 'mprotect', 'restore', 'race', 'punch', 'truncate', 'munmap'];

const folder = temporaryFolder();
const MEDIUM_BYTES = 9_000_001;
const medium = randomFile(path.join(folder, 'medium'), MEDIUM_BYTES);

function runOf(report: MirrorReport, page: PageSize, api: ApiName): RunResult {
  const run = report.runs.find((one) => one.page === page && one.api === api);
  if (run === undefined) throw new Error(`no run of ${page} ${api}`);
  return run;
}

function invalidationsOf(run: RunResult, step: string): readonly Invalidated[] {
  return run.steps.find(({ name }) => name === step)?.invalidations ?? [];
}

/** How many spans of `bytes` the range touches. */
function spans(start: bigint, length: number, bytes: number): number {
  const size = BigInt(bytes);
  return Number((start + BigInt(length) - 1n) / size - start / size) + 1;
}

/** Bytes of the tables that map `[start, start + length)` by leaves of one size: the top one, and one for each span above a leaf. */
function tableBytes(start: bigint, length: number, page: PageSize): number {
  const above = [2 ** 39, LEAF_BYTES['1G'], LEAF_BYTES['2M']].filter((span) => span > LEAF_BYTES[page]);
  return 4096 * above.reduce((sum, span) => sum + spans(start, length, span), 1);
}

/** The leaves that a run's writes before `fsync` touched: what is dirty, and what each write-back tells the mirrors. */
function dirtyLeaves(run: RunResult): Invalidated[] {
  const size = LEAF_BYTES[run.page];
  const touched = run.written.flatMap(({ offset, length }) => [Math.floor(offset / size), Math.floor((offset + length - 1) / size)]);
  return [...new Set(touched)].sort((a, b) => a - b).map((leaf) => ({ event: 'PROTECTION_PAGE', offset: leaf * size, length: size }));
}

function expectPassed({ code, report }: { code: number | null; report: MirrorReport }): void {
  expect(report.runs.flatMap((run) => run.steps.filter(({ seen }) => seen !== null).map(({ name, seen }) => `${run.page} ${run.api} ${name}: ${seen}`))).toEqual([]);
  expect({ code, passed: report.passed }).toEqual({ code: 0, passed: true });
}

describe('a file of some MiB', () => {
  const before = fingerprint(medium);
  const outcome = mirrorReport([medium]);
  const { report } = outcome;

  it('passes every step at every page size with both APIs', () => {
    expectPassed(outcome);
    expect(report.runs.map(({ page, api }) => `${page} ${api}`)).toEqual(PAGES.flatMap((page) => APIS.map((api) => `${page} ${api}`)));
    for (const run of report.runs) expect(run.steps.map(({ name, outcome: how }) => [name, how])).toEqual(STEPS.map((name) => [name, 'passed']));
  });

  it('is what it was: bytes and time of modification', () => {
    expect(fingerprint(medium)).toEqual(before);
    expect(report.file).toMatchObject({ path: medium, bytes: MEDIUM_BYTES, sha256: before.sha256 });
  });

  describe.each(PAGES.flatMap((page) => APIS.map((api) => [page, api] as const)))('%s %s', (page, api) => {
    const run = runOf(report, page, api);
    const leaves = Math.ceil(MEDIUM_BYTES / LEAF_BYTES[page]);
    const mappedBytes = leaves * LEAF_BYTES[page];

    it('maps whole leaves: pages, leaves and faults are ceil(size / leaf)', () => {
      const none = { '4K': 0, '2M': 0, '1G': 0 };
      expect(run).toMatchObject({ mappedBytes, pages: mappedBytes / 4096, faults: leaves });
      expect(run.cpuLeaves).toEqual({ ...none, [page]: leaves });
      expect(run.deviceLeaves).toEqual({ ...none, [page]: leaves });
    });

    it('needs the tables that x86-64 needs, on either side', () => {
      const bytes = tableBytes(BigInt(run.address), mappedBytes, page);
      expect({ cpu: run.cpuTableBytes, device: run.deviceTableBytes }).toEqual({ cpu: bytes, device: bytes });
    });

    it('reading and writing invalidate nothing', () => {
      for (const step of ['fill', 'read', 'device-write', 'cpu-write', 'atomic']) expect(invalidationsOf(run, step), step).toEqual([]);
    });

    it('each fsync protects each dirty leaf once', () => {
      for (const step of ['fsync', 'restore']) expect(invalidationsOf(run, step), step).toEqual(dirtyLeaves(run));
    });

    it('mprotect there and back is one event each over the mapping', () => {
      const whole = { event: 'PROTECTION_VMA', offset: 0, length: mappedBytes };
      expect(invalidationsOf(run, 'mprotect')).toEqual([whole, whole]);
    });

    it('punch unmaps the whole file to break its layout, then the pages punched', () => {
      const whole = { event: 'CLEAR', offset: 0, length: mappedBytes };
      expect(invalidationsOf(run, 'race')).toEqual([whole, { event: 'CLEAR', offset: 0, length: 4096 }]);
      const [first, hole, ...more] = invalidationsOf(run, 'punch');
      expect([first, more]).toEqual([whole, []]);
      expect(hole?.event).toBe('CLEAR');
      expect(hole?.offset).toBeLessThanOrEqual(MEDIUM_BYTES / 2);
      expect((hole?.offset ?? 0) + (hole?.length ?? 0)).toBeGreaterThan(MEDIUM_BYTES / 2);
    });

    it('truncate does so, and unmaps what is cut off twice: before and after it leaves the page cache', () => {
      const [first, second, third, ...more] = invalidationsOf(run, 'truncate');
      expect([first, more]).toEqual([{ event: 'CLEAR', offset: 0, length: mappedBytes }, []]);
      expect(third).toEqual(second);
      expect(second?.event).toBe('CLEAR');
      expect((second?.offset ?? 0) + (second?.length ?? 0)).toBe(mappedBytes);
      expect(Math.abs((second?.offset ?? 0) - MEDIUM_BYTES / 2)).toBeLessThan(2 ** 20);
    });

    it('munmap is one event over the mapping', () => {
      expect(invalidationsOf(run, 'munmap')).toEqual([{ event: 'UNMAP', offset: 0, length: mappedBytes }]);
    });

    it('adds up, with one retry: the race’s', () => {
      expect(run.invalidations).toBe(2 * dirtyLeaves(run).length + 2 + 2 + 2 + 3 + 1);
      expect(run.deviceRetries).toBe(1);
    });
  });

  it('shows as a table: a row a run, a row a step, a verdict', () => {
    const { code, stdout } = daxmirror(['mirror', medium]);
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines.length).toBeLessThan(40);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(110);
    for (const page of PAGES) for (const api of APIS) expect(lines.filter((line) => line.startsWith(page) && line.includes(` ${api} `) && line.endsWith('✓'))).toHaveLength(1);
    for (const step of STEPS) expect(lines.filter((line) => line.startsWith(`✓  ${step} `))).toHaveLength(1);
    expect(stdout).toMatch(/\n✓ 6 runs, 72 steps in [\d.]+ s: .*\n$/);
    expect(stdout).toContain(medium);
  });
});

describe('colours', () => {
  const { report } = mirrorReport([medium, '--page', '2M', '--api', 'modern']);

  /** What is written to a stream that is a terminal or none. */
  function printed(isTTY: boolean, noColor: string | undefined): string {
    const before = process.env['NO_COLOR'];
    if (noColor === undefined) delete process.env['NO_COLOR'];
    else process.env['NO_COLOR'] = noColor;
    let text = '';
    printReport(report, { isTTY, write: (part: string) => (text += part) !== '' } as unknown as NodeJS.WriteStream);
    if (before === undefined) delete process.env['NO_COLOR'];
    else process.env['NO_COLOR'] = before;
    return text;
  }

  it('are for terminals', () => {
    expect(printed(true, undefined)).toContain('\u001b[32m✓');
    expect(printed(false, undefined)).not.toContain('\u001b');
  });

  it('are left out where NO_COLOR is set', () => {
    expect(printed(true, '1')).not.toContain('\u001b');
    expect(printed(true, '')).toContain('\u001b');
  });
});

describe('--page and --api', () => {
  it('leave the rest out', () => {
    const { code, report } = mirrorReport([medium, '--page', '2M', '--api', '2019']);
    expect(code).toBe(0);
    expect(report.runs.map(({ page, api }) => [page, api])).toEqual([['2M', '2019']]);
  });
});

describe('files of awkward lengths', () => {
  // around a word, a page, a leaf, and where the middle is a page, not a leaf
  const lengths = [1, 7, 8, 9, 4095, 4096, 4097, 8192, 12_289, 2 ** 21 - 1, 2 ** 21 + 1, 2 ** 23, 2 ** 23 + 1];
  it.each(lengths)('%i bytes', (bytes) => {
    expectPassed(mirrorReport([randomFile(path.join(folder, `random-${bytes}`), bytes)]));
  });
});

describe('large files', () => {
  it('the Node executable, by default, in less than 20 seconds and unchanged', { timeout: 60_000 }, () => {
    const before = fingerprint(process.execPath);
    const outcome = mirrorReport([]);
    expectPassed(outcome);
    expect(outcome.report.file).toMatchObject({ path: process.execPath, bytes: before.bytes, sha256: before.sha256 });
    expect(outcome.report.elapsedNs).toBeLessThan(20e9);
    expect(fingerprint(process.execPath)).toEqual(before);
  });

  it('one of more than 100 MB, in an arena of about its size', { timeout: 120_000 }, () => {
    const bytes = 123_456_789;
    const outcome = mirrorReport([sparseFile(path.join(folder, 'large'), bytes, 2 ** 16)]);
    expectPassed(outcome);
    expect(outcome.report.arenaBytes).toBeLessThan(bytes * 1.02 + 20 * 2 ** 20);
    for (const run of outcome.report.runs) expect(run.faults).toBe(Math.ceil(bytes / LEAF_BYTES[run.page]));
  });
});

describe('a broken device is found out', () => {
  const found: readonly [string, string, RegExp][] = [
    ['skip-notifier', 'fsync', /the device's writable 4K entry .*: the CPU page table has it read-only/],
    ['stale-pfn', 'race', /the device's read-only 4K entry .*: the CPU page table maps nothing/],
    ['wrong-frame', 'fill', /the device's read-only \w+ entry .* leads to frame .*: the CPU page table maps frame/],
    ['lost-device-write', 'device-write', /the CPU reads .* where .* ought to be/],
  ];

  it.each(found)('%s: in step %s, at every page size with both APIs', (bug, step, seen) => {
    const { code, report } = mirrorReport([medium, '--bug', bug]);
    expect({ code, passed: report.passed, bug: report.bug, runs: report.runs.length }).toEqual({ code: 1, passed: false, bug, runs: 6 });
    for (const run of report.runs) {
      const at = STEPS.indexOf(step);
      expect(run.steps.map(({ outcome }) => outcome), `${run.page} ${run.api}`).toEqual(STEPS.map((_, i) => (i < at ? 'passed' : i === at ? 'failed' : 'skipped')));
      expect(run.steps[at]?.seen).toMatch(seen);
    }
  });

  it('the table names the step and what was seen', () => {
    const { code, stdout } = daxmirror(['mirror', medium, '--bug', 'stale-pfn', '--page', '2M']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ {2}race /m);
    expect(stdout).toMatch(/^✗ 2M 2019, race: the device's .*entry at 0x/m);
    expect(stdout).toMatch(/^✗ 2M modern, race: the device's .*entry at 0x/m);
    expect(stdout).toMatch(/✗ 2 of 2 runs failed \([\d.]+ s\)\.\n$/);
  });

  it('also on a file of one page', () => {
    const tiny = sparseFile(path.join(folder, 'tiny'), 4096, 4096);
    for (const [bug, step] of found) {
      const { code, report } = mirrorReport([tiny, '--bug', bug]);
      expect(code, bug).toBe(1);
      for (const run of report.runs) expect(run.steps.find(({ outcome }) => outcome === 'failed')?.name, `${bug} ${run.page} ${run.api}`).toBe(step);
    }
  });
});
