/**
 * Where running kernels are known to differ from every profile, by version and by how they were built. Such calls are left out of sequences
 * on those kernels, on both sides; where a field of a profile says what they do, the model does as they do instead. Each line says on which,
 * and what the kernel does otherwise; src/native/README.md tells users.
 */
import type { KernelProfile } from '../../profile/index.ts';
import type { DrawnAdvice, Step } from './steps.ts';
import type { States } from './sides.ts';

/** What of the running kernel matters. */
export interface Host {
  /** major and minor */
  readonly version: readonly [number, number];
  /** built with transparent huge pages, with KSM */
  readonly thp: boolean;
  readonly ksm: boolean;
}

export interface Known {
  readonly on: (host: Host) => boolean;
  readonly text: string;
  readonly is: (step: Step, modelErrno: string) => boolean;
}

/** An area with anonymous pages and one without become one, whichever of them has changed; before, only when the one without has. */
const MERGES: Known['on'] = since(6, 16);

export const KNOWN: readonly Known[] = [
  {
    on: since(6, 17),
    text: 'mremap with MREMAP_FIXED checks its arguments before it looks for an area (EINVAL before EFAULT), and moves several areas, and gaps between them, where profiles answer EFAULT',
    is: ({ call, to }, modelErrno) => call === 'mremap' && to !== null && modelErrno === 'EFAULT',
  },
  {
    on: since(6, 17),
    text: 'mremap with MREMAP_FIXED of old length 0 that is refused, as the area is private, leaves what is mapped at the new place, where profiles have unmapped it by then',
    is: ({ call, npages, to }, modelErrno) => call === 'mremap' && to !== null && npages === 0 && modelErrno === 'EINVAL',
  },
  { on: ({ thp }) => !thp, text: 'built without transparent huge pages: MADV_HUGEPAGE and MADV_NOHUGEPAGE are EINVAL', is: advises('hugepage', 'nohugepage') },
  { on: ({ ksm }) => !ksm, text: 'built without KSM: MADV_MERGEABLE is EINVAL', is: advises('mergeable') },
];

/** The profile as the running kernel has it. */
export function profileOn(host: Host, profile: KernelProfile): KernelProfile {
  return MERGES(host) ? { ...profile, mergesIntoUntouched: true } : profile;
}

function since(major: number, minor: number): Known['on'] {
  return ({ version }) => version[0] > major || (version[0] === major && version[1] >= minor);
}

function advises(...advices: readonly DrawnAdvice[]): Known['is'] {
  return ({ call, advice }) => call === 'madvise' && advices.includes(advice);
}

/** `exists`: is there such a file? */
export function hostOf(release: string, exists: (path: string) => boolean): Host {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  return { version: [major, minor], thp: exists('/sys/kernel/mm/transparent_hugepage'), ksm: exists('/sys/kernel/mm/ksm') };
}

export function knownFor(host: Host): readonly Known[] {
  return KNOWN.filter(({ on }) => on(host));
}

/** The steps without those that are known to differ. A call that failed may have done a part, so the rest is answered anew each time. */
export function withoutKnown(steps: readonly Step[], known: readonly Known[], askModel: (steps: readonly Step[]) => States): readonly Step[] {
  for (let kept = steps; ; ) {
    const model = askModel(kept);
    const at = kept.findIndex((step, i) => known.some(({ is }) => is(step, model[i]?.errno ?? '')));
    if (at < 0) return kept;
    kept = [...kept.slice(0, at), ...kept.slice(at + 1)];
  }
}
