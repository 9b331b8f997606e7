/** Bytes are told in runs, sixteen at most, however long they are. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { byteRuns } from '../../../dist/scenario/bytes.js';

function filled(runs: readonly (readonly [length: number, byte: number])[]): Uint8Array {
  return Uint8Array.from(runs.flatMap(([length, byte]) => new Array<number>(length).fill(byte)));
}

test('runs of equal bytes', () => {
  expect(byteRuns(filled([[3, 7], [1, 0], [9000, 7]]))).toEqual([[3, 7], [1, 0], [9000, 7]]);
  expect(byteRuns(new Uint8Array(0))).toEqual([]);
});

test('after sixteen runs the rest is left out', () => {
  const runs = Array.from({ length: 17 }, (_, i): [number, number] => [2, i]);
  expect(byteRuns(filled(runs.slice(0, 16)))).toEqual(runs.slice(0, 16));
  expect(byteRuns(filled(runs))).toEqual([...runs.slice(0, 16), '...']);
});

test('runs of any lengths come back as they were', () => {
  const length = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 4090, max: 4100 }), fc.integer({ min: 8187, max: 16390 }));
  const runs = fc.array(length, { maxLength: 6 }).map((lengths) => lengths.map((n, i): [number, number] => [n, i % 2]));
  fc.assert(fc.property(runs, (given) => isDeepStrictEqual(byteRuns(filled(given)), given)), { numRuns: 200 });
});
