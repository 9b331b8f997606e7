/** Two runs of one script in two columns, with ≠ between them where they differ and ~ where only details do. */
import { besideEachOther, type ScenarioRecord } from '../../scenario/index.ts';
import { PLAIN, type Paint } from '../paint.ts';
import { endLines } from './recordView.ts';
import { StepView, type Step } from './steps.ts';

const WIDTH_DEFAULT = 160;
const COLUMN_MIN = 40;
/** What stands before and between the columns. */
const EXTRA = 11;
/** Cells of a bar, so that there is room beside it. */
const BAR_CELLS = 24;

export function besideText(records: readonly [ScenarioRecord, ScenarioRecord], sides: readonly [string, string], sameApi: boolean, columns: number | undefined, paint: Paint): string {
  const width = Math.max(COLUMN_MIN, Math.floor(((columns ?? WIDTH_DEFAULT) - EXTRA) / 2));
  const [left, right] = records;
  const views = [new StepView(BAR_CELLS), new StepView(BAR_CELLS)] as const;
  const rows = besideEachOther(left, right, sameApi);
  const lines = rows.flatMap(({ op, left: a, right: b, contract, detail }) => {
    const steps = [a === undefined ? null : views[0].step(a), b === undefined ? null : views[1].step(b)] as const;
    const sign = contract.length > 0 ? '≠' : detail.length > 0 ? '~' : ' ';
    const number = (steps[0] ?? steps[1])?.number ?? '';
    const what = [...contract, ...detail.map((key) => `${key} (detail)`)].join(', ');
    const head = `${number.padStart(4)}  ${op}${what === '' ? '' : `   ${(contract.length > 0 ? paint.bad : paint.dim)(`${sign} ${what}`)}`}`;
    return [head, ...columnLines(linesOf(steps[0]), linesOf(steps[1]), sign, width, paint)];
  });
  const count = (pick: 'contract' | 'detail'): number => rows.filter((row) => row[pick].length > 0 && (pick === 'contract' || row.contract.length === 0)).length;
  const ends = [endLines(left, PLAIN), endLines(right, PLAIN)].map((end) => end.find((line) => /^[✓✗]/.test(line)) ?? '');
  const title = `${paint.strong(left.scenario)}${left.title === '' ? '' : `: ${left.title}`}`;
  const verdict = `${rows.length} operations: ${count('contract')} differ, ${count('detail')} more in detail${left.result === right.result ? '' : '; they end differently'}`;
  return `${[title, ...columnLines([sides[0]], [sides[1]], ' ', width, paint), ...lines, ...columnLines(ends.slice(0, 1), ends.slice(1), left.result === right.result ? ' ' : '≠', width, paint), verdict].join('\n')}\n\n`;
}

function linesOf(step: Step | null): string[] {
  if (step === null) return ['(not answered)'];
  return [step.outcome, ...step.details].filter((line) => line !== '');
}

/** Two lists of lines, one beside the other; lines that are not the same have the sign between them. */
function columnLines(left: readonly string[], right: readonly string[], sign: string, width: number, paint: Paint): string[] {
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => {
    const [a, b] = [left[i] ?? '', right[i] ?? ''];
    const between = a === b || sign === ' ' ? '│' : sign === '≠' ? paint.bad('≠') : paint.dim('~');
    return `      ${cut(a, width)} ${between} ${cut(b, width).trimEnd()}`;
  });
}

function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}
