/** Bad input: what the user gave cannot be worked with. One line, exit code 2. */
export class BadInput extends Error {
  readonly exitCode: number;
  /** the message begins with a place, file:line:column, that editors go to */
  readonly placed: boolean = false;
  constructor(message: string, exitCode = 2) {
    super(message);
    this.name = 'BadInput';
    this.exitCode = exitCode;
  }
}

/** Bad input at a place in a file. */
export class MisplacedInput extends BadInput {
  override readonly placed = true;
}
