/** Reports, musts and tables, from workloads whose outcomes the test decides. */
import { describe, expect, it } from 'vitest';
import { MUSTS, judge, type Must } from '../../../dist/bench/musts.js';
import type { Report, Row } from '../../../dist/bench/report.js';
import { runBench } from '../../../dist/bench/run.js';
import { WORKLOADS } from '../../../dist/bench/suite.js';
import type { Contender, Work, Workload } from '../../../dist/bench/workload.js';
import { benchText } from '../../../dist/cli/bench/tables.js';
import { HmmError } from '../../../dist/errno.js';

const NO_ADDON = { native: null, reason: 'not built: npm run build:native' } as const;

/** Work that takes long enough for any clock. */
function busy(name: string, more: Partial<Contender> = {}): Contender {
  return {
    name,
    run: (times) => {
      const end = performance.now() + 0.05 * times;
      while (performance.now() < end);
    },
    ...more,
  };
}

function workload(name: string, contenders: readonly Contender[], more: Partial<Work> = {}): Workload {
  const setup = async (): Promise<Work> => ({
    unit: 'page', unitsPerRun: 512, contenders, against: ['avx2', 'plain'], outputBytesPerRun: 4096, model: { leaves: 512, tableBytes: 16384, entries: 511 }, warmupMs: 1, ...more,
  });
  return { name, table: 'fill', pageSize: '4K', quick: true, setup };
}

const LIST = [
  busy('walker'),
  busy('null', { isNull: true }),
  busy('avx2', { missing: 'this CPU cannot run it' }),
  busy('plain'),
  busy('mainline', { check: () => 'differs at word 5' }),
];

async function reportOf(...workloads: Workload[]): Promise<Report> {
  return runBench({ workloads, native: NO_ADDON, rounds: 9 });
}

describe('runBench', () => {
  it('gives a row a contender, with ratios made within rounds', async () => {
    const report = await reportOf(workload('fill 4K, small', LIST));
    const rows = report.tables[0]?.rows as readonly Row[];
    expect(rows.map(({ contender, status, reason }) => [contender, status, reason])).toEqual([
      ['walker', 'measured', null], ['null', 'measured', null], ['avx2', 'missing', 'this CPU cannot run it'], ['plain', 'measured', null], ['mainline', 'refused', 'differs at word 5'],
    ]);
    const [walker, nullRow, avx2] = rows as [Row, Row, Row];
    expect(Object.keys(walker.ratios).sort()).toEqual(['plain', 'walker']);
    expect(walker.ratios['walker']).toMatchObject({ median: 1, min: 1, max: 1 });
    expect([nullRow.isNull, walker.isNull]).toEqual([true, false]);
    expect(walker.rounds).toBeGreaterThanOrEqual(9);
    expect(walker.ns?.rounds).toBeGreaterThanOrEqual(9);
    const { median } = walker.ns as { median: number };
    expect(walker.gbPerSecond).toBeCloseTo(8 / median, 6);
    expect(avx2).toMatchObject({ ns: null, ratios: {}, gbPerSecond: null, rounds: 0 });
  });

  it('says what it ran on and is JSON as it stands', async () => {
    const report = await reportOf(workload('fill 4K, small', LIST));
    expect(report).toMatchObject({ schema: 'daxmirror-bench', version: 2, quick: false, nativeReason: NO_ADDON.reason, clocks: [{ kind: 'wall time' }] });
    expect(Date.parse(report.date)).not.toBeNaN();
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('makes one refused row of a workload that cannot be set up, and goes on', async () => {
    const tooLarge: Workload = { name: 'huge', table: 'populate', pageSize: null, quick: false, setup: () => Promise.reject(new HmmError('ENOMEM', 'bench', 'no room')) };
    const { tables } = await reportOf(tooLarge, workload('fill 4K, small', LIST));
    expect(tables.map(({ name }) => name)).toEqual(['fill', 'populate']);
    expect(tables[1]?.rows).toMatchObject([{ workload: 'huge', status: 'refused', reason: 'bench: no room (ENOMEM)', ns: null }]);
  });

  it('does not swallow a defect of its own', async () => {
    const broken: Workload = { name: 'broken', table: 'fill', pageSize: null, quick: false, setup: () => Promise.reject(new TypeError('oops')) };
    await expect(reportOf(broken)).rejects.toThrow('oops');
  });

  it('disposes of the work whatever happens', async () => {
    let disposals = 0;
    const dispose = (): void => void disposals++;
    await reportOf(workload('fine', LIST, { dispose }));
    const failing = busy('walker', { run: () => Promise.reject(new HmmError('EIO', 'bench', 'lost')) });
    const { tables } = await reportOf(workload('failing', [failing], { dispose }));
    expect(tables[0]?.rows).toMatchObject([{ status: 'refused', reason: 'bench: lost (EIO)' }]);
    expect(disposals).toBe(2);
  });

  it('takes only what was chosen', async () => {
    const names: string[] = [];
    const other: Workload = { ...workload('other', LIST), table: 'walk', quick: false };
    const workloads = [workload('one', LIST), other];
    const report = await runBench({ workloads, native: NO_ADDON, rounds: 9, tables: ['walk'], onWorkload: (name, index, count) => names.push(`${name} ${index}/${count}`) });
    expect(names).toEqual(['other 0/1']);
    expect(report.tables.map(({ name }) => name)).toEqual(['walk']);
    expect((await runBench({ workloads, native: NO_ADDON, rounds: 9, quick: true })).tables.map(({ name }) => name)).toEqual(['fill']);
  });

  it('gives a workload the rounds that its share of the time allows, and says that they are few', async () => {
    const report = await runBench({ workloads: [workload('slow', LIST)], native: NO_ADDON, rounds: 9, seconds: 0.01 });
    expect(report.tables[0]?.rows[0]).toMatchObject({ status: 'measured', rounds: 3, ns: { rounds: 3, isQuiet: false } });
  });

  it('refuses what is left when the time of the run is over', async () => {
    const report = await runBench({ workloads: [workload('first', LIST), workload('second', LIST)], native: NO_ADDON, rounds: 9, seconds: 0.001 });
    expect(report.tables[0]?.rows.at(-1)).toMatchObject({ workload: 'second', status: 'refused', reason: 'the 0.001 s of the run were over' });
  });

  it('refuses unknown options and too few rounds', async () => {
    await expect(runBench({ round: 9 } as never)).rejects.toThrow(/unknown option 'round'/);
    for (const seconds of [0, -1, NaN]) await expect(runBench({ seconds, native: NO_ADDON, workloads: [] })).rejects.toThrow(RangeError);
    for (const rounds of [8, 9.5, NaN]) await expect(runBench({ rounds, native: NO_ADDON, workloads: [] })).rejects.toThrow(RangeError);
  });
});

const ALL = { rounds: 9, isQuiet: true, lower: 0.5, upper: 3 } as const;
const ROW: Row = {
  table: 'fill', workload: 'w', size: null, pageSize: '4K', contender: 'walker', isNull: false, status: 'measured', reason: null, unit: 'page', ns: { median: 2000, min: 1000, max: 3000, ...ALL }, against: ['avx2', 'plain'],
  ratios: { avx2: { median: 1.5, min: 1, max: 2, ...ALL }, plain: { median: 0.25, min: 0.2, max: 0.3, ...ALL } }, gbPerSecond: null, rounds: 9, clock: 'wall time', model: null, sizes: { rssBytes: 500 },
};

describe('musts', () => {
  const holds = (must: Omit<Must, 'workload'>, row: Partial<Row> = {}): (boolean | number | null)[] =>
    judge([{ ...ROW, ...row }], [{ workload: 'w', ...must }]).flatMap(({ holds: verdict, measured }) => [verdict, measured]);

  it('are judged by the medians of the base row', () => {
    expect(holds({ quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.5 })).toEqual([true, 1.5]);
    expect(holds({ quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.49 })).toEqual([false, 1.5]);
    expect(holds({ quantity: { kind: 'speed over', peer: 'plain' }, atLeast: 4 })).toEqual([true, 4]);
    expect(holds({ quantity: { kind: 'speed over', peer: 'plain' }, atLeast: 4.1 })).toEqual([false, 4]);
    expect(holds({ quantity: { kind: 'per second' }, atLeast: 500_000 })).toEqual([true, 500_000]);
    expect(holds({ quantity: { kind: 'ns' }, atMost: 1999 })).toEqual([false, 2000]);
    expect(holds({ quantity: { kind: 'bytes', size: 'rssBytes' }, atMost: 500 })).toEqual([true, 500]);
  });

  it('are not known to hold where there is no number, and say why', () => {
    const missing: Row = { ...ROW, contender: 'avx2', status: 'missing', reason: 'no native addon', ns: null, ratios: {} };
    const must: Must = { workload: 'w', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 2 };
    expect(judge([{ ...ROW, ratios: {} }, missing], [must])).toMatchObject([{ holds: null, measured: null, reason: 'no native addon' }]);
    expect(judge([{ ...ROW, status: 'refused', reason: 'differs at word 1', ns: null }], [must])).toMatchObject([{ holds: null, reason: 'differs at word 1' }]);
  });

  it('of workloads that did not run are not judged', () => {
    expect(judge([ROW], [{ workload: 'other', quantity: { kind: 'ns' }, atMost: 1 }])).toEqual([]);
  });

  it('name workloads that there are, and bounds', () => {
    const names = WORKLOADS.map(({ name }) => name);
    for (const must of MUSTS) {
      expect(names).toContain(must.workload);
      expect([must.atLeast, must.atMost].filter((bound) => bound !== undefined)).toHaveLength(1);
    }
  });
});

const EMPTY: Report = {
  schema: 'daxmirror-bench', version: 2, quick: true, date: '2019-01-29T00:00:00.000Z', host: { cpu: 'c', cpus: 1, memoryBytes: 2 ** 30, system: 's', node: '20', v8: '11' }, clocks: [],
  nativeReason: null, tables: [], musts: [], isWhole: true,
};

describe('the tables', () => {
  it('show ratios with their spread, modelled values apart, and no number of a refused row', async () => {
    const report = await reportOf(workload('fill 4K, small', LIST), { ...workload('fill 2M, small', LIST), pageSize: '2M' });
    const text = benchText(report);
    const line = (who: string): string => text.split('\n').find((one) => new RegExp(`^(fill 4K, small)? +${who} `).test(one)) ?? '';
    expect(text).toMatch(/workload +who +wall ns\/page +GB\/s +time\/avx2 +time\/plain +modelled: +leaves +table bytes +entries/);
    expect(line('walker')).toMatch(/fill 4K, small +walker +~?[\d.,]+ \([\d.,]+\.\.[\d.,]+\) +[\d.,]+ +~?[\d.,]+ \([\d.,]+\.\.[\d.,]+\) +512 +16 KiB +511/);
    expect(line('mainline')).toMatch(/mainline +refused: differs at word 5\s*$/);
    expect(line('avx2')).toMatch(/avx2 +missing: this CPU cannot run it\s*$/);
    expect(text).toMatch(/side by side +4K +2M +1G/);
    expect(text).toMatch(/^fill, small +~?[\d.,]+ ns\/page +~?[\d.,]+ ns\/page\s*$/m);
    expect(text).toContain('none: not built: npm run build:native');
  });

  it('show the musts beside what was measured', () => {
    const musts = judge([ROW], [{ workload: 'w', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.6 }, { workload: 'w', quantity: { kind: 'per second' }, atLeast: 1e6 }]);
    const text = benchText({ ...EMPTY, musts });
    expect(text).toMatch(/w +time against avx2 +at most 1\.60 × +1\.50 × +✓/);
    expect(text).toMatch(/w +per second +at least 1\.00 M\/s +500,000\/s +✗ missed/);
  });

  it('mark what is made of rounds in which the core was shared', () => {
    const shared = { median: 1.5, min: 1, max: 2, lower: 1, upper: 2, rounds: 27, isQuiet: false };
    const rows: Row[] = [{ ...ROW, ns: { ...shared, isQuiet: true }, ratios: { avx2: shared, plain: shared } }];
    const text = benchText({ ...EMPTY, tables: [{ name: 'fill', title: 't', rows }], musts: judge(rows, [{ workload: 'w', quantity: { kind: 'time against', peer: 'avx2' }, atMost: 1.4 }]) });
    expect(text).toMatch(/w +walker +1\.50 \(1\.00\.\.2\.00\) +~1\.50 \(/);
    expect(text).toMatch(/at most 1\.40 × +~1\.50 × +✗ missed/);
  });
});
