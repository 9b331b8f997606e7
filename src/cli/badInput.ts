/** Bad input: what the user gave cannot be worked with. One line, exit code 2. */
export class BadInput extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 2) {
    super(message);
    this.name = 'BadInput';
    this.exitCode = exitCode;
  }
}
