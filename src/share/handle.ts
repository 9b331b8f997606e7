/** What goes from the owner to a Worker: plain data that structured clone carries, the memory and the module shared, not copied. */
import type { ArenaMemory, WalkerModule } from '../arena/index.ts';

/** How words of range walks are written down, and what a walk takes for ordinary; a machine's constants. */
export interface WalkConstants {
  readonly devmapBit: number;
  readonly orderShift: number;
  readonly zeroPfn: number;
}

/** A table that Workers may walk. */
export interface SharedTableEntry {
  readonly name: string;
  /** a process's address space, or the table of a device that mirrors one */
  readonly kind: 'process' | 'device';
  /** arena offset of its SHARE_ block */
  readonly share: number;
  readonly id: number;
  readonly root: number;
  readonly levels: number;
}

/** Good until the machine is reset or disposed. Post it to any number of Workers. */
export interface ShareHandle {
  readonly kind: 'daxmirror share';
  readonly abiVersion: number;
  readonly generation: number;
  readonly memory: ArenaMemory;
  readonly module: WalkerModule;
  /** Workers that may be attached at once */
  readonly workers: number;
  readonly constants: WalkConstants;
  /** bug switch worker-skips-retry */
  readonly skipsRetry: boolean;
  readonly tables: readonly SharedTableEntry[];
}
