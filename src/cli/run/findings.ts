/** `run --check`: what the checks of the guarantee found, for people. */
import { Checker, findingText, type Finding } from '../../check/index.ts';
import type { MachineCore } from '../../machine.ts';
import type { Paint } from '../paint.ts';

/** One scenario's checks: made with its machine. */
export class RunChecks {
  #checker: Checker | null = null;
  #ended = false;

  readonly watch = (core: MachineCore): Checker => {
    this.#checker = new Checker(core);
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
}

/** No finding but those by which this kernel is known to break the guarantee? */
export function allKnown(findings: readonly Finding[]): boolean {
  return findings.every(({ knownBy }) => knownBy !== null);
}

export function findingsView(checks: RunChecks, paint: Paint): string {
  const findings = checks.end();
  if (findings.length === 0) return `${paint.good('✓')} every mirror was told, in ${checks.steps} operations\n\n`;
  const lines = findings.flatMap((finding) => {
    const [first = '', ...rest] = findingText(finding).split('\n');
    return [`${finding.knownBy === null ? paint.bad('✗') : paint.dim('!')} ${first}`, ...rest.map((line) => `  ${line}`)];
  });
  return `${lines.join('\n')}\n\n`;
}
