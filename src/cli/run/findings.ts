/** `run --check`: what the checks of the guarantee found, for people. */
import { Checker, RULE_NAMES, findingText, type CheckerOptions, type Finding } from '../../check/index.ts';
import type { MachineCore } from '../../machine.ts';
import type { Paint } from '../paint.ts';
import { grouped, listLines } from '../words.ts';

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

  /** How often each rule had something to look at, what was told, and who still holds pages: a line each. */
  get summary(): readonly string[] {
    const checker = this.#checker;
    if (checker === null) return [];
    const told = Array.from(checker.told, ([event, { times, pages, mapped, lost }]) => `${event} ${grouped(times)}: told of ${grouped(pages)} pages, ${grouped(mapped)} were mapped, ${grouped(lost)} lost something`);
    return [...listLines('  looked:', RULE_NAMES.map((rule) => `${rule} ${grouped(checker.looked[rule])}`)), ...[...told, ...checker.holders].map((line) => `  ${line}`)];
  }
}

/** No finding but those by which this kernel is known to break the guarantee? */
export function allKnown(findings: readonly Finding[]): boolean {
  return findings.every(({ knownBy }) => knownBy !== null);
}

export function findingsView(checks: RunChecks, paint: Paint): string {
  const findings = checks.end();
  const summary = checks.summary.map((line) => `${paint.dim(line)}\n`).join('');
  if (findings.length === 0) return `${paint.good('✓')} no rule broken in ${checks.steps} operations\n${summary}\n`;
  const lines = findings.flatMap((finding) => {
    const [first = '', ...rest] = findingText(finding).split('\n');
    return [`${finding.knownBy === null ? paint.bad('✗') : paint.dim('!')} ${first}`, ...rest.map((line) => `  ${line}`)];
  });
  return `${lines.join('\n')}\n${summary}\n`;
}
