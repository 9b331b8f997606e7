/** `run --check`: what the checks of the guarantee found, for people. */
import { Checker, RULE_NAMES, findingText, type CheckerOptions, type Finding, type Looked } from '../../check/index.ts';
import type { MachineCore } from '../../machine.ts';
import type { Paint } from '../paint.ts';

/** One scenario's checks: made with its machine. */
export class RunChecks {
  readonly #options: CheckerOptions;
  #checker: Checker | null = null;
  #ended = false;

  constructor(options: CheckerOptions) {
    this.#options = options;
  }

  readonly watch = (core: MachineCore): Checker => {
    this.#checker = new Checker(core, this.#options);
    return this.#checker;
  };

  /** After the scenario: what is left over is looked at too. */
  end(): readonly Finding[] {
    if (!this.#ended) this.#checker?.end('the end');
    this.#ended = true;
    return this.#checker?.findings ?? [];
  }

  get steps(): number {
    return this.#checker?.steps ?? 0;
  }

  /** What was looked at, what was told, and who still holds pages: a line each. */
  get summary(): readonly string[] {
    const checker = this.#checker;
    if (checker === null) return [];
    const told = Array.from(checker.told, ([event, { times, pages, mapped, lost }]) => `${event} ${count(times)}: told of ${count(pages)} pages, ${count(mapped)} were mapped, ${count(lost)} lost something`);
    return [lookedText(checker.looked), ...told, ...checker.holders];
  }
}

/** No finding but those by which this kernel is known to break the guarantee? */
export function allKnown(findings: readonly Finding[]): boolean {
  return findings.every(({ knownBy }) => knownBy !== null);
}

export function findingsView(checks: RunChecks, paint: Paint): string {
  const findings = checks.end();
  const summary = checks.summary.map((line) => `${paint.dim(`  ${line}`)}\n`).join('');
  if (findings.length === 0) return `${paint.good('✓')} no rule broken in ${checks.steps} operations\n${summary}\n`;
  const lines = findings.flatMap((finding) => {
    const [first = '', ...rest] = findingText(finding).split('\n');
    return [`${finding.knownBy === null ? paint.bad('✗') : paint.dim('!')} ${first}`, ...rest.map((line) => `  ${line}`)];
  });
  return `${lines.join('\n')}\n${summary}\n`;
}

/** How often each rule had something to look at. */
export function lookedText(looked: Looked): string {
  return `looked: ${RULE_NAMES.map((rule) => `${rule} ${count(looked[rule])}`).join(', ')}`;
}

function count(n: number): string {
  return n.toLocaleString('en');
}
