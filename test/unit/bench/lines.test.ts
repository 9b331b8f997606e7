/** Reports as lines of JSON, and the schema of a line: what is printed is what is read, and what nobody printed is refused by its line. */
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { compareReports } from '../../../dist/bench/compare.js';
import { SCHEMA_URL, changeLines, endLines, headLine, readReport, rowLines } from '../../../dist/bench/lines.js';
import { reportOf, type Head, type Report, type Row } from '../../../dist/bench/report.js';
import { runBench } from '../../../dist/bench/run.js';
import { WORKLOADS } from '../../../dist/bench/suite.js';

const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(JSON.parse(readFileSync(SCHEMA_URL, 'utf8')) as object);

const SPREAD = { median: 2, min: 1, max: 4, lower: 1.5, upper: 2.5, rounds: 9, isQuiet: true };
const HEAD: Head = {
  schema: 'daxmirror-bench', version: 2, quick: true, date: '2019-01-29T00:00:00.000Z', host: { cpu: 'c', cpus: 1, memoryBytes: 2 ** 30, system: 's', node: '20', v8: '11' },
  clocks: [{ kind: 'wall time', resolutionNs: 40 }], nativeReason: 'not built',
};
const ROW: Row = {
  table: 'fill', workload: 'fill 4K, 1 GiB, 512 KiB window', size: { curve: 'fill 4K', at: 2 ** 30, of: 'bytes' }, pageSize: '4K', contender: 'walker', isNull: false, status: 'measured', reason: null, unit: 'page',
  ns: SPREAD, against: ['avx2', 'plain'], ratios: { avx2: SPREAD }, gbPerSecond: 4, rounds: 9, clock: 'wall time', model: { leaves: 1, tableBytes: 2, entries: null }, sizes: { rssBytes: 1 },
};
const REFUSED: Row = { ...ROW, contender: 'avx2', status: 'refused', reason: 'differs at word 1', ns: null, ratios: {}, gbPerSecond: null, rounds: 0, size: null, model: null, pageSize: null };

function textOf(report: Report): string {
  return headLine(HEAD) + rowLines(report.tables.flatMap(({ rows }) => rows)) + endLines(report);
}

describe('lines', () => {
  const report = reportOf(HEAD, [ROW, REFUSED], true);
  const text = textOf(report);

  it('are read back as the report that was printed', () => {
    expect(readReport(text, 'x')).toEqual(report);
  });

  it('keep to the schema, each of them', async () => {
    const measured = await runBench({ native: { native: null, reason: 'none' }, rounds: 9, seconds: 0.001, workloads: WORKLOADS.filter(({ table }) => table === 'scheduler') });
    const lines = textOf(report) + textOf(measured) + changeLines(compareReports(report, reportOf(HEAD, [ROW, { ...ROW, workload: 'new' }], true)));
    for (const line of lines.trimEnd().split('\n')) expect(validate(JSON.parse(line)), `${line}: ${JSON.stringify(validate.errors)}`).toBe(true);
  });

  it('of a run that was broken off are a report that is not whole', () => {
    const whole = text.split('\n');
    for (const cut of [`${whole.slice(0, 2).join('\n')}\n`, `${whole.slice(0, 2).join('\n')}\n${whole[2]?.slice(0, 40)}`]) {
      const read = readReport(cut, 'x');
      expect(read).toMatchObject({ isWhole: false, tables: [{ rows: [{ contender: 'walker' }] }] });
      expect(read.tables[0]?.rows).toHaveLength(1);
    }
  });

  it.each([
    ['', /^x: is empty, not a bench report$/],
    ['hello\n', /^x:1: is not JSON, so no line of daxmirror bench --json$/],
    ['{"schema":"other"}\n', /^x:1: does not begin with the head of a bench report$/],
    ['null\n', /^x:1: does not begin with the head of a bench report$/],
    [text.replace('"version":2', '"version":1'), /^x:1: is a report of version 1, this daxmirror reads version 2$/],
    [text.replace('"status":"measured"', '"status":"guessed"'), /^x:2: in this row line, status must be equal to one of the allowed values$/],
    [text.replace('"median":2', '"median":"2"'), /^x:2: in this row line, ns/],
    [text.replace('"line":"row"', '"line":"raw"'), /^x:2: is a line of no kind that there is: head, row, change, must, end$/],
    [`${text}${text}`, /^x:\d+: goes on after its end$/],
    [headLine(HEAD) + headLine(HEAD), /^x:2: a second head$/],
  ])('that no bench printed are refused by their place: %#', (bad, message) => {
    expect(() => readReport(bad, 'x')).toThrow(message);
  });
});

describe('the schema', () => {
  it('knows every field of a row, so that none is printed without being described', () => {
    const schema = JSON.parse(readFileSync(SCHEMA_URL, 'utf8')) as { $defs: Record<string, { properties: object; required: string[] }> };
    expect(Object.keys(schema.$defs['row']?.properties ?? {}).sort()).toEqual(['line', ...Object.keys(ROW)].sort());
    expect(Object.keys(schema.$defs['head']?.properties ?? {}).sort()).toEqual(['line', ...Object.keys(HEAD)].sort());
    expect(Object.keys(schema.$defs['spread']?.properties ?? {}).sort()).toEqual(Object.keys(SPREAD).sort());
  });

  it.each([['a row without a reason', { ...ROW, line: 'row', reason: undefined }], ['a line of no kind', { ...ROW }], ['a spread without quartiles', { ...ROW, line: 'row', ns: { ...SPREAD, lower: undefined } }]])('refuses %s', (_, line) => {
    expect(validate(JSON.parse(JSON.stringify(line)))).toBe(false);
  });
});
