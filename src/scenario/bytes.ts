/** Bytes read, as the records write them: runs of [length, byte], cut after so many. */

const RUNS_MAX = 16;

export function byteRuns(bytes: Uint8Array): unknown[] {
  const runs: ([number, number] | string)[] = [];
  for (let i = 0, end = 0; i < bytes.length; i = end) {
    const byte = bytes[i] as number;
    for (end = i + 1; end < bytes.length && bytes[end] === byte; end++);
    if (runs.length === RUNS_MAX) return [...runs, '...'];
    runs.push([end - i, byte]);
  }
  return runs;
}
