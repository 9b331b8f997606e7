/** The running kernel as a contender: it is there with the addon on Linux, or a row says why not. */
import { HmmError } from '../errno.ts';
import type { Native, NativeHandle } from '../native/load.ts';
import { missingReason } from './hmm/walks.ts';
import type { BenchContext, Contender } from './workload.ts';

export const KERNEL = 'kernel';

/** What a kernel contender holds until its work is disposed of. */
export interface HostPart {
  readonly contender: Contender;
  readonly dispose: () => void;
}

/** The contender that `make` sets up; one that is missing, and why, where the addon is, or the kernel says no. */
export function hostPart(name: string, context: BenchContext, make: (native: Native) => { readonly handle: NativeHandle | null; readonly run: (times: number) => void; readonly lacks?: string }): HostPart {
  const missing = (reason: string): HostPart => ({ contender: { name, missing: reason, run: () => {} }, dispose: () => {} });
  const { native } = context;
  if (native === null) return missing(missingReason(context));
  try {
    const { handle, run, lacks } = make(native);
    const dispose = (): void => {
      if (handle !== null) native.hostPagemapFree(handle);
    };
    if (lacks === undefined) return { contender: { name, run }, dispose };
    dispose();
    return missing(lacks);
  } catch (error) {
    if (!HmmError.is(error)) throw error;
    return missing(error.message);
  }
}
