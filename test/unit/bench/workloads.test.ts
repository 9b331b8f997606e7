/** The workloads besides range walks, on small sizes: what they do is checked, how long it takes is not. */
import { describe, expect, it } from 'vitest';
import { FAULTS, faultWork } from '../../../dist/bench/dax/faults.js';
import { machineWorkloads } from '../../../dist/bench/machine/lifetimes.js';
import { CHANGES, changeName, changeWork } from '../../../dist/bench/pgtable/changes.js';
import { populateWork } from '../../../dist/bench/pgtable/populate.js';
import { TRANSLATES, translateName, translateWork } from '../../../dist/bench/pgtable/translate.js';
import { translatorsWork } from '../../../dist/bench/api/translators.js';
import { workersWork } from '../../../dist/bench/share/workers.js';
import { chainWorkloads } from '../../../dist/bench/sched/chains.js';
import { WORKLOADS } from '../../../dist/bench/suite.js';
import { TABLE_NAMES, type BenchContext, type Work } from '../../../dist/bench/workload.js';
import { addon, withAddon } from '../native/addon.ts';

const compiled = withAddon(import.meta.url);
const NO_ADDON: BenchContext = { native: null, nativeReason: 'not built' };
const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** Name and refusal of each contender that is there, each run once after its check. */
async function runAll(work: Work): Promise<[string, string | null][]> {
  const verdicts: [string, string | null][] = [];
  for (const one of work.contenders.filter(({ missing }) => missing === undefined)) {
    verdicts.push([one.name, one.check?.() ?? null]);
    await one.before?.();
    await one.run(1);
  }
  work.dispose?.();
  return verdicts;
}

function fine(names: readonly string[]): [string, null][] {
  return names.map((name) => [name, null]);
}

describe('DAX faults', () => {
  it.each(FAULTS.map((spec) => [spec.name, spec] as const))('%s: as many faults as leaves, the words those of the file', async (_name, spec) => {
    const ranges = Math.min(spec.ranges, 3);
    const work = await faultWork({ ...spec, ranges });
    const leaf = { '4K': 4096, '2M': 2 * MiB, '1G': GiB }[spec.pageSize];
    const leaves = ranges * Math.max(1, spec.length / leaf);
    expect(work.unitsPerRun).toBe(leaves);
    expect(work.model?.leaves).toBe(leaves);
    // Warm: the tables are there, at least one a level down to the leaves.
    expect(work.model?.tableBytes).toBeGreaterThanOrEqual({ '4K': 4, '2M': 3, '1G': 2 }[spec.pageSize] * 4096);
    expect(await runAll(work)).toEqual(fine(['walker', 'null']));
  });

  it('refuses what is not the workload: a leaf of another size', async () => {
    const work = await faultWork({ name: 'odd', pageSize: '1G', ranges: 1, stride: 2 * MiB, length: 2 * MiB, unit: 'leaf', write: false });
    expect(work.contenders[0]?.check?.()).toMatch(/^(differs at word 0|takes \d+ faults for 1 leaves)$/);
  });
});

// What is spread over more than a few GiB takes long to map: two are enough to leave one for another.
const SMALL_TRANSLATES = TRANSLATES.map((spec) => ({ ...spec, range: Math.min(spec.range, 2 * GiB) })).map((spec) => [translateName(spec), spec] as const);

describe('translate', () => {
  it.each(SMALL_TRANSLATES)('%s: every build finds the frames', async (_name, spec) => {
    const builds = ['walker', ...spec.builds.slice(1).map((build) => `walker ${build}`), 'null'];
    expect(await runAll(await translateWork(spec, NO_ADDON))).toEqual(fine(spec.batch ? builds : [...builds, 'PageTable.translate', 'no call']));
  });
});

compiled.describe('translate, with the addon', () => {
  it.each(SMALL_TRANSLATES)('%s: the peers find the same', async (_name, spec) => {
    const work = await translateWork(spec, { native: addon(), nativeReason: null });
    expect((await runAll(work)).filter(([, refusal]) => refusal !== null)).toEqual([]);
    expect(work.contenders.some(({ name }) => name === work.against[0])).toBe(true);
  });
});

describe('translate through the API', () => {
  it.each(['4K', '2M', '1G'] as const)('%s: every form finds the frames', async (pageSize) => {
    expect(await runAll(await translatorsWork(pageSize, NO_ADDON))).toEqual(fine(['translator()', 'null', 'mirror.translator()', 'translate(bigint)', 'mirror.translate(bigint)']));
  });
});

describe('Workers', () => {
  it('without the addon there is no CPU time of theirs: rows that say so', async () => {
    const work = await workersWork({ pageSize: '4K', range: 64 * MiB }, NO_ADDON);
    expect(work.contenders.map(({ name, missing }) => [name, missing])).toEqual([
      ...['two Workers', 'null', 'one Worker'].map((name) => [name, 'no CPU time of other threads without the native addon: not built']),
      ['in this thread', undefined],
    ]);
    work.dispose?.();
  });
});

compiled.describe('Workers, with the addon', () => {
  it.each(['4K', '2M'] as const)('%s: each thread walks the words of the frames mapped, and says what CPU time it took', async (pageSize) => {
    const work = await workersWork({ pageSize, range: 64 * MiB }, { native: addon(), nativeReason: null });
    for (const { name, run } of work.contenders.slice(0, 3)) expect(await run(2), name).toBeGreaterThan(0);
    expect(await runAll(work)).toEqual(fine(['two Workers', 'null', 'one Worker', 'in this thread']));
  });
});

describe('populate', () => {
  it.each([['4K', 64 * MiB, 16384], ['2M', GiB, 512]] as const)('%s: maps what it says, again and again', async (pageSize, range, leaves) => {
    const work = await populateWork(pageSize, range, NO_ADDON);
    expect(work.unitsPerRun).toBe(leaves);
    expect(work.model).toMatchObject({ leaves, tableBytes: { '4K': 3 + 32, '2M': 3 }[pageSize] * 4096 });
    expect(await runAll(work)).toEqual(fine(['walker', 'null']));
  });
});

describe('leaves changed in place', () => {
  const small = CHANGES.map((spec) => ({ ...spec, range: Math.min(spec.range, spec.pageSize === '4K' ? 64 * MiB : 2 * GiB) }));
  const each = [...new Map(small.map((spec) => [changeName(spec), spec])).entries()];

  it.each(each)('%s: changes every leaf, again and again', async (_name, spec) => {
    const work = await changeWork(spec, NO_ADDON);
    const [walker] = work.contenders;
    expect(work.unitsPerRun).toBe(spec.range / { '4K': 4096, '2M': 2 * MiB, '1G': GiB }[spec.pageSize]);
    for (let i = 0; i < 2; i++) {
      expect(walker?.check?.()).toBeNull();
      walker?.before?.();
      walker?.run(1);
    }
    if (spec.op === 'write-protect') walker?.run(1); // and back
    expect(await runAll(work)).toEqual(fine(['walker', 'null']));
  });
});

describe('machines and paths', () => {
  it.each([...machineWorkloads, ...chainWorkloads].map((workload) => [workload.name, workload] as const))('%s: runs, and has a null contender', async (_name, workload) => {
    const work = await workload.setup(NO_ADDON);
    const verdicts = await runAll(work);
    expect(verdicts.slice(0, 2)).toEqual(fine(['walker', 'null']));
    expect(verdicts.every(([, refusal]) => refusal === null)).toBe(true);
  });

  it('weighs what a machine takes of memory', async () => {
    const work = await (machineWorkloads.find(({ name }) => name === 'create a machine') as (typeof machineWorkloads)[number]).setup(NO_ADDON);
    expect(Object.keys(work.sizes?.() ?? {})).toEqual(['rssBytes']);
    work.dispose?.();
  });

});

describe('the suite', () => {
  it('names each workload once, in a table that there is', () => {
    expect(new Set(WORKLOADS.map(({ name }) => name)).size).toBe(WORKLOADS.length);
    expect(new Set(WORKLOADS.map(({ table }) => table))).toEqual(new Set(TABLE_NAMES));
  });

  it('has walks, fills and translations at every page size in --quick, and nothing slow', () => {
    const quick = WORKLOADS.filter((workload) => workload.quick);
    for (const table of ['walk', 'fill', 'translate']) {
      expect(new Set(quick.filter((one) => one.table === table).map(({ pageSize }) => pageSize)), table).toEqual(new Set(['4K', '2M', '1G']));
    }
    expect(quick.every(({ name }) => !name.includes('64 GiB') && !name.includes('TiB'))).toBe(true);
  });
});
