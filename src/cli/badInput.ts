/** Bad input: what the user gave cannot be worked with. One line, exit code 2. */
import { getSystemErrorMap } from 'node:util';

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

/** What the host says of a file, in words: `no such file or directory`. What is no error of the host's is thrown on. */
export function hostWords(error: unknown): string {
  const { errno, code } = error as NodeJS.ErrnoException;
  if (errno === undefined && code === undefined) throw error;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? String(code);
}
