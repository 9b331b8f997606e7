/** What is wrong with a scenario file, and where. */

export class ScenarioError extends Error {
  readonly file: string;
  /** from 1 */
  readonly line: number;
  /** from 1 */
  readonly column: number;

  constructor(file: string, line: number, column: number, what: string) {
    super(`${file}:${line}:${column}: ${what}`);
    this.name = 'ScenarioError';
    this.file = file;
    this.line = line;
    this.column = column;
  }
}
