/** One answer of a scenario for people: what was asked, a word for how it went, and lines that show the rest. */
import { sizeOf, type Answer } from '../../scenario/index.ts';
import type { Paint } from '../paint.ts';
import { bytesInRuns, drawAreas, drawEvents, drawExtents, drawMoves, drawPages, othersOf } from './draw.ts';
import { BAR_CELLS, bytesOf, sizeInWords } from './bars.ts';

export interface Step {
  /** '12' or, of a child, '5 c' */
  readonly number: string;
  readonly op: string;
  readonly outcome: string;
  readonly good: boolean;
  readonly details: readonly string[];
}

/** Draws the answers of one record in order: it remembers what later ones refer to. */
export class StepView {
  readonly #cells: number;
  /** lengths of mirrors, by process and name */
  readonly #mirrors = new Map<string, number>();
  /** areas as last told, by process */
  readonly #areas = new Map<string, readonly Answer[]>();

  /** `cells`: of a bar, at most. */
  constructor(cells = BAR_CELLS) {
    this.#cells = cells;
  }

  step(answer: Answer): Step {
    const { i, who, op, err, exit, skip, code, addr, signal, ...members } = answer;
    const text = String(op);
    const process = String(who ?? '');
    const words = text.split(/\s+/);
    if (words[0] === 'mirror') this.#mirrors.set(`${process}:${words[1]}`, sizeOf(words[3] ?? '') ?? 0);
    const details: string[] = [];
    const extras: string[] = [];
    for (const [key, value] of Object.entries(members)) this.#member(key, value, { words, process, details, extras });
    const faulted = code === undefined ? '' : ` ${String(code)} at ${String(addr)}`;
    const how = skip !== undefined ? `skipped: ${String(skip)}` : err !== undefined ? `${String(err)}${faulted}` : exit !== undefined ? (exit === 0 ? 'ok' : `exit ${String(exit)}`) : '';
    const outcome = [how, ...(signal === undefined ? [] : [`killed by signal ${String(signal)}`]), ...extras].filter((word) => word !== '').join(', ');
    return { number: process === '' ? String(i) : process, op: text, outcome, good: skip === undefined && (err ?? 'ok') === 'ok' && (exit ?? 0) === 0, details };
  }

  #member(key: string, value: unknown, { words, process, details, extras }: { words: readonly string[]; process: string; details: string[]; extras: string[] }): void {
    const list = Array.isArray(value) ? (value as readonly Answer[]) : [];
    switch (key) {
      case 'pfns':
        details.push(...drawPages(list, addressIn(words), this.#cells));
        break;
      case 'vmas':
        details.push(...drawAreas(list, this.#areas.get(process) ?? [], this.#cells));
        this.#areas.set(process, list);
        break;
      case 'smaps':
        details.push(...drawAreas(list, list, this.#cells));
        break;
      case 'events':
        if (list.length === 0) extras.push('no invalidation');
        details.push(...drawEvents(list, this.#mirrors.get(`${process}:${words[1]}`) ?? null, this.#cells));
        break;
      case 'extents':
        extras.push(list.length === 1 ? '1 extent' : `${list.length} extents`);
        details.push(...drawExtents(list, this.#cells));
        break;
      case 'pages':
        details.push(...drawMoves(list));
        break;
      case 'signals':
        details.push(...list.map(({ sig, code, addr, lsb }) => `${String(sig)} ${String(code)} at ${String(addr)}, lsb ${String(lsb)}`));
        break;
      case 'bytes':
        extras.push(bytesInRuns(list));
        break;
      case 'size':
        extras.push(`size ${sizeInWords(bytesOf(value) ?? 0)}`);
        break;
      case 'stale':
        extras.push(value === true ? 'stale' : 'not stale');
        break;
      case 'page':
        extras.push(value === null ? 'no page' : `page ${(list as readonly unknown[]).join(' ')}`);
        break;
      case 'async':
        break;
      default:
        extras.push(...othersOf({ [key]: value }));
    }
  }
}

/** Of `pin p a+4K 2`, `fault a 2M` the address. */
function addressIn(words: readonly string[]): string {
  return (words[0] === 'pin' ? words[2] : words[1]) ?? '';
}

/** Steps as text: the operations in one column, how they went in the next, what there is to see below. */
export function stepLines(step: Step, paint: Paint): string[] {
  const head = `${step.number.padStart(4)}  ${step.op.padEnd(OP_WIDTH - Math.max(0, step.number.length - 4))}  `;
  return [`${head}${(step.good ? paint.good : paint.bad)(step.outcome)}`.trimEnd(), ...step.details.map((line) => `${INDENT}${line}`)];
}

const OP_WIDTH = 34;
const INDENT = ' '.repeat(8);
