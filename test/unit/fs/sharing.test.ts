import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockSharing } from '../../../dist/fs/sharing.js';

describe('BlockSharing', () => {
  test('says of every block what a count of its owners says', () => {
    const op = fc.record({ share: fc.boolean(), at: fc.nat(60), npages: fc.integer({ min: 1, max: 20 }) });
    fc.assert(
      fc.property(fc.constantFrom(0, 2 ** 28, 2 ** 36 - 30), fc.array(op, { maxLength: 60, size: 'max' }), (origin, ops) => {
        const sharing = new BlockSharing();
        const owners = new Map<number, number>();
        const of = (pfn: number): number => owners.get(pfn) ?? 1;
        for (const { share, at, npages } of ops) {
          const first = origin + at;
          const pages = Array.from({ length: npages }, (_, i) => first + i);
          if (share) {
            sharing.share(first, npages);
            for (const pfn of pages) owners.set(pfn, of(pfn) + 1);
          } else {
            const orphans = sharing.release(first, npages).flatMap((run) => Array.from({ length: run.npages }, (_, i) => run.pfn + i));
            expect(orphans).toEqual(pages.filter((pfn) => of(pfn) === 1));
            for (const pfn of pages) owners.set(pfn, Math.max(1, of(pfn) - 1));
          }
        }
        for (let at = origin; at < origin + 80; at += 3) {
          const shared = Array.from({ length: 25 }, (_, i) => at + i).filter((pfn) => of(pfn) > 1);
          const start = shared[0];
          let end = start ?? 0;
          while (shared.includes(end)) end++;
          expect(sharing.firstShared(at, 25)).toEqual(start === undefined ? null : { pfn: start, npages: end - start });
        }
      }),
      { numRuns: 200 },
    );
  });
});
