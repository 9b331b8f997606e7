import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** The checkout's root as a pattern: it may itself lie in a folder `dist`. */
const ROOT = import.meta.dirname.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);

/**
 * Tests run against the built package: dist/ is imported by Node itself, not transformed, so that what is measured and
 * checked is what users run. `npm test` builds first; a bare `npx vitest` uses the dist that is there.
 */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'dist/**', 'test/oracle/**'],
    pool: 'forks',
    maxWorkers: availableParallelism(), // vitest's own choice leaves one core idle, which is half of two
    testTimeout: 30_000,
    hookTimeout: 60_000,
    allowOnly: process.env['CI'] === undefined,
    server: { deps: { external: [new RegExp(`${ROOT}/dist/`), new RegExp(`${ROOT}/scripts/.*\\.mjs$`)] } },
  },
});
