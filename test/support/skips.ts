/**
 * Skips: the only way a test may not run, with a reason of a closed union.
 *
 * A skip is recorded in the file that DAXMIRROR_SKIPS names (one JSON object a line); `npm test` compares the record with what
 * the runner skipped: a skip that nobody declared is a failure.
 */
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'vitest';

export const SKIP_REASONS = ['no compiler', 'no QEMU', 'no browser', 'no Redis', 'root'] as const;
/** What the machine lacks; `root`: the test means nothing to the user it runs as. */
export type SkipReason = (typeof SKIP_REASONS)[number];

export interface Skip {
  /** path from the checkout, with slashes */
  readonly file: string;
  /** title of the test or suite */
  readonly name: string;
  readonly reason: SkipReason;
}

type Body = () => void | Promise<void>;
type Declare = (name: string, body: Body, timeout_ms?: number) => void;

/**
 * `it` and `describe` for tests that need something: they run where `available`, else are skipped and recorded.
 * Call them at a test file's top level or in a `describe`, with `import.meta.url` for `file`:
 *
 *   const compiled = needs('no compiler', native !== null, import.meta.url);
 *   compiled.it('maps a file', () => { … });
 */
export function needs(reason: SkipReason, available: boolean, file: string | URL): { readonly it: Declare; readonly describe: Declare } {
  if (!SKIP_REASONS.includes(reason)) throw new RangeError(`needs: reason ${String(reason)} is none of: ${SKIP_REASONS.join(', ')}`);
  const from = relativePath(file);
  return {
    it(name, body, timeout_ms) {
      if (!available) record({ file: from, name, reason });
      it.skipIf(!available)(name, body, timeout_ms);
    },
    describe(name, body) {
      if (!available) record({ file: from, name, reason });
      describe.skipIf(!available)(name, body);
    },
  };
}

function record(skip: Skip): void {
  const file = process.env['DAXMIRROR_SKIPS'];
  if (file !== undefined && file !== '') appendFileSync(file, `${JSON.stringify(skip)}\n`);
}

function relativePath(file: string | URL): string {
  const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
  return path.relative(root, fileURLToPath(file)).split(path.sep).join('/');
}
