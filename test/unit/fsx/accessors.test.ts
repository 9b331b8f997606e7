/** The exerciser: a long run is clean with every accessor. */
import { describe, expect, it } from 'vitest';
import { ACCESSORS, DEFAULT_LAYOUT, DEFAULT_MIX, runFsx, type FsxOptions, type Layout, type Mix } from '../../../dist/fsx/index.js';

const OPERATIONS = 20_000;

function options({ layout = {}, mix = {}, ...more }: { layout?: Partial<Layout>; mix?: Partial<Mix> } & Partial<Omit<FsxOptions, 'layout' | 'mix'>> = {}): FsxOptions {
  return { layout: { ...DEFAULT_LAYOUT, ...layout }, mix: { ...DEFAULT_MIX, ...mix }, operations: OPERATIONS, ...more };
}

describe('fsx: who loads and stores', () => {
  for (const accessor of [...ACCESSORS, 'mixed'] as const) {
    it(`${OPERATIONS} operations end clean with accesses by ${accessor}`, async () => {
      const { failure, operations, accesses } = await runFsx(options({ mix: { accessor } }));
      expect(failure).toBeNull();
      expect(operations).toBe(OPERATIONS);
      expect(Object.keys(accesses).toSorted()).toEqual(accessor === 'mixed' ? [...ACCESSORS].toSorted() : [accessor]);
    });
  }
});
