/** Colours on a terminal, or none where nobody can see them. */

export type Ink = (text: string) => string;

export interface Paint {
  readonly good: Ink;
  readonly bad: Ink;
  readonly dim: Ink;
  /** what to look at first */
  readonly strong: Ink;
}

export function paintFor(stream: NodeJS.WriteStream): Paint {
  const hasColours = stream.isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
  return hasColours ? COLOURED : PLAIN;
}

const sgr = (code: number): Ink => (text) => (text === '' ? '' : `\u001b[${code}m${text}\u001b[39m\u001b[22m`);
const same: Ink = (text) => text;

const COLOURED: Paint = { good: sgr(32), bad: sgr(31), dim: sgr(2), strong: sgr(1) };
export const PLAIN: Paint = { good: same, bad: same, dim: same, strong: same };
