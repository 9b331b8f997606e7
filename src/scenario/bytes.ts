/** Bytes read, as the records write them: runs of [length, byte], cut after so many. */

const RUNS_MAX = 16;
const STRIDE = 4096;

export function byteRuns(bytes: Uint8Array): unknown[] {
  const runs: ([number, number] | string)[] = [];
  for (let i = 0, end = 0; i < bytes.length; i = end) {
    const byte = bytes[i] as number;
    for (end = i + 1; end < bytes.length && bytes[end] === byte; end++) if (end - i === STRIDE) end = skip(bytes, i, end);
    if (runs.length === RUNS_MAX) return [...runs, '...'];
    runs.push([end - i, byte]);
  }
  return runs;
}

/** Long runs are compared by the piece: where in `bytes` the pieces end that are like the one at `start`, less one byte. */
function skip(bytes: Uint8Array, start: number, from: number): number {
  const first = bytes.subarray(start, start + STRIDE);
  let end = from;
  while (end + STRIDE <= bytes.length && Buffer.compare(first, bytes.subarray(end, end + STRIDE)) === 0) end += STRIDE;
  return end === from ? end : end - 1;
}
