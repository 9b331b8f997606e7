/**
 * A report as lines of JSON: the head, a line for each row as it is measured, for each change since an older report, for each must, an end. schema/bench.json describes them.
 *
 * A run that was broken off leaves whole rows and no end; read back it is a report that is not whole.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { REPORT_SCHEMA, REPORT_VERSION, reportOf, type Head, type Report, type Row } from './report.ts';
import type { Change } from './compare.ts';
import type { Judgement } from './musts.ts';

export type Line =
  | ({ readonly line: 'head' } & Head)
  | ({ readonly line: 'row' } & Row)
  | ({ readonly line: 'must' } & Judgement)
  | ({ readonly line: 'change' } & Change)
  | { readonly line: 'end'; readonly rows: number; readonly musts: number };

/** What cannot be read as a report: which line, and why. */
export class ReportError extends Error {
  override readonly name = 'ReportError';
}

/** The schema of a line, as it is in the package. */
export const SCHEMA_URL = new URL('../../schema/bench.json', import.meta.url);

export function headLine(head: Head): string {
  return lineOf({ line: 'head', ...head });
}

export function rowLines(rows: readonly Row[]): string {
  return rows.map((row) => lineOf({ line: 'row', ...row })).join('');
}

export function changeLines(changes: readonly Change[]): string {
  return changes.map((change) => lineOf({ line: 'change', ...change })).join('');
}

/** What comes after the last row. */
export function endLines({ tables, musts }: Report): string {
  const rows = tables.reduce((sum, table) => sum + table.rows.length, 0);
  return musts.map((must) => lineOf({ line: 'must', ...must })).join('') + lineOf({ line: 'end', rows, musts: musts.length });
}

function lineOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}

/**
 * The report that `text` holds; `name` is for messages. Musts are judged anew, by the bounds of today. Throws ReportError, which names the line, for what no bench printed
 * and for other versions; a last line that was cut short is left out, and the report is not whole.
 */
export function readReport(text: string, name: string): Report {
  const lines = text.split('\n');
  const isCut = lines.at(-1) !== '';
  if (!isCut) lines.pop();
  const check = checker();
  let head: Head | null = null;
  let isWhole = false;
  const rows: Row[] = [];
  for (const [index, one] of lines.entries()) {
    const line = parsed(one, `${name}:${index + 1}`, check, index === 0, isCut && index === lines.length - 1);
    if (line === null) continue;
    if (isWhole) throw new ReportError(`${name}:${index + 1}: goes on after its end`);
    if ((line.line === 'head') !== (index === 0)) throw new ReportError(`${name}:${index + 1}: ${index === 0 ? 'does not begin with the head of a bench report' : 'a second head'}`);
    const { line: kind, ...own } = line;
    if (kind === 'head') head = own as Head;
    else if (kind === 'row') rows.push(own as Row);
    else if (kind === 'end') isWhole = true;
  }
  if (head === null) throw new ReportError(`${name}: is empty, not a bench report`);
  return reportOf(head, rows, isWhole);
}

/** Null: it was cut short. */
function parsed(text: string, place: string, check: Check, isFirst: boolean, isCut: boolean): Line | null {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    if (isCut && !isFirst) return null;
    throw new ReportError(`${place}: is not JSON, so no line of daxmirror bench --json`);
  }
  if (isFirst) checkHead(line, place);
  const fault = check((line as { line?: unknown } | null)?.line, line);
  if (fault !== null) throw new ReportError(`${place}: ${fault}`);
  return line as Line;
}

/** A head of another kind or version is told by name, not by what it lacks. */
function checkHead(line: unknown, place: string): void {
  const { schema, version } = (line ?? {}) as { schema?: unknown; version?: unknown };
  if (schema !== REPORT_SCHEMA) throw new ReportError(`${place}: does not begin with the head of a bench report`);
  if (version !== REPORT_VERSION) throw new ReportError(`${place}: is a report of version ${String(version)}, this daxmirror reads version ${REPORT_VERSION}`);
}

/** `ns must be object`: where in the line, and what. */
function faultOf([error]: readonly ErrorObject[]): string {
  return `${error?.instancePath.slice(1).replaceAll('/', '.') || 'it'} ${error?.message ?? 'is wrong'}`;
}

/** What is wrong with a line of a kind, or null. */
type Check = (kind: unknown, line: unknown) => string | null;

function checker(): Check {
  const { Ajv2020 } = createRequire(import.meta.url)('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js');
  const schema = JSON.parse(readFileSync(SCHEMA_URL, 'utf8')) as { readonly $id: string; readonly properties: { readonly line: { readonly enum: readonly string[] } } };
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  ajv.addSchema(schema);
  const kinds = schema.properties.line.enum;
  const validators = new Map<unknown, ValidateFunction>();
  for (const kind of kinds) validators.set(kind, ajv.getSchema(`${schema.$id}#/$defs/${kind}`) as ValidateFunction);
  return (kind, line) => {
    const validate = validators.get(kind);
    if (validate === undefined) return `is a line of no kind that there is: ${kinds.join(', ')}`;
    return validate(line) ? null : `in this ${String(kind)} line, ${faultOf(validate.errors ?? [])}`;
  };
}
