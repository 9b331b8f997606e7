/** The part of the addon that the facade uses, as a port: loaded only where there is a file system to load it from. */
export interface Native {
  mapFile(memory: Uint8Array, offset: number, length: number, file: string | number, fileOffset: number, options?: { shared?: boolean }): number;
  unmapFile(handle: number): void;
  syncFile(handle: number, offset: number, length: number): void;
}

export interface NativeState {
  readonly native: Native | null;
  /** why there is none; null when there is one */
  readonly reason: string | null;
}

/** Loads the addon if there is one. Never throws for its absence; throws ENOEXEC for one of another ABI. */
export async function loadNativeState(wanted: 'auto' | 'off'): Promise<NativeState> {
  if (wanted === 'off') return { native: null, reason: 'switched off by the machine\'s options' };
  if (typeof process === 'undefined' || process.versions?.node === undefined) return { native: null, reason: 'not Node.js' };
  const { loadNative } = await import('../native/load.ts');
  return loadNative();
}
