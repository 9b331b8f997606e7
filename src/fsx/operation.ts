/**
 * What the exerciser does: one operation on one file by one process, and who carries out its mapped access.
 *
 * The first list are the classic exerciser's own (its log knows them); the second are ours, which a classic tool passes over as comments.
 */
export const CLASSIC_OPERATIONS = [
  'read', 'write', 'mapread', 'mapwrite', 'truncate', 'fallocate', 'punch_hole', 'zero_range', 'collapse_range', 'insert_range', 'clone_range', 'dedupe_range', 'copy_range',
  'exchange_range', 'fsync',
] as const;
export const OWN_OPERATIONS = ['msync', 'map', 'unmap', 'mprotect', 'fork'] as const;
export type OperationName = (typeof CLASSIC_OPERATIONS)[number] | (typeof OWN_OPERATIONS)[number];

/** Operations with a second offset: where the bytes go. */
export const WITH_DEST: readonly OperationName[] = ['clone_range', 'dedupe_range', 'copy_range', 'exchange_range'];
/** Operations of the classic exerciser whose length is an end: `truncate 0x0 NEWSIZE OLDSIZE`. */
export const MAPPED: readonly OperationName[] = ['mapread', 'mapwrite', 'fork'];

export const ACCESSORS = ['cpu', 'modern', '2019', 'kvm'] as const;
export type AccessorName = (typeof ACCESSORS)[number];

/** A mapped read of the same file that runs at the same time; its bytes are not looked at, but the same range is read again afterwards. */
export interface Beside {
  readonly process: number;
  readonly by: AccessorName;
  readonly offset: number;
  readonly length: number;
  /** of the order in which the two run */
  readonly seed: number;
}

/** The power fails while an operation runs, or after it. */
export interface Cut {
  /** flushes, fences and journal commits of the operation before it; where there are fewer, it fails at the end */
  readonly point: number;
  /** of what is left */
  readonly seed: number;
}

export interface Operation {
  readonly name: OperationName;
  /** bytes */
  readonly offset: number;
  readonly length: number;
  readonly dest: number;
  /** the file's size before it */
  readonly size: number;
  readonly keepSize: boolean;
  /** of fallocate: blocks that no other file has, where files share blocks */
  readonly unshare: boolean;
  /** the file is closed and opened afterwards */
  readonly closeOpen: boolean;
  readonly skipped: boolean;
  readonly process: number;
  readonly file: number;
  readonly by: AccessorName;
  /** of mprotect */
  readonly prot: 'none' | 'r' | 'rw';
  /** of map: MAP_SYNC */
  readonly sync: boolean;
  readonly beside: Beside | null;
  /** mapwrite: the stored bytes are flushed from the caches by who stored them (clwb, sfence) */
  readonly flush: boolean;
  readonly cut: Cut | null;
}

/** The ways in which a run is laid out; a log carries them. */
export interface Layout {
  readonly fs: 'ext4' | 'xfs' | 'xfsn';
  readonly profile: string;
  readonly page: 'any' | '4K';
  /** largest size of a file, in bytes */
  readonly fileBytes: number;
  readonly processes: number;
  readonly files: number;
  /** what a power cut leaves is kept track of: the caches are lost, or (eADR) are not */
  readonly power: 'off' | 'adr' | 'eadr';
  /** what a cut at every single point would leave is looked at */
  readonly everyPoint: boolean;
}

export const DEFAULT_LAYOUT: Layout = { fs: 'ext4', profile: 'v6.1', page: 'any', fileBytes: 256 * 1024, processes: 1, files: 1, power: 'off', everyPoint: false };

/** Files share and shift whole blocks. */
export const BLOCK_BYTES = 4096;

/** `mapwrite 0x1000..0x1200 of file0 by modern in process0` */
export function operationText({ name, offset, length, dest, process, file, by, beside, flush }: Operation): string {
  const where = name === 'truncate' ? `to ${hex(length)}` : name === 'fsync' ? '' : `${hex(offset)}..${hex(offset + length)}`;
  const to = WITH_DEST.includes(name) ? ` to ${hex(dest)}` : '';
  const who = MAPPED.includes(name) ? ` by ${by}` : '';
  const race = beside === null ? '' : `, beside a read of ${hex(beside.offset)}..${hex(beside.offset + beside.length)} by ${beside.by} in process${beside.process}`;
  return `${name} ${where}${to} of file${file}${who}${flush ? ', flushed,' : ''} in process${process}${race}`.replace('  ', ' ');
}

export function hex(n: number): string {
  return `0x${n.toString(16)}`;
}
