/**
 * Where running kernels are known to differ from every profile, by version. Such calls are left out of sequences on those kernels, on
 * both sides. Each line says since when, and what the kernel does otherwise; src/native/README.md tells users.
 */
import type { States } from './sides.ts';
import type { Step } from './steps.ts';

interface Known {
  /** major and minor */
  readonly since: readonly [number, number];
  readonly text: string;
  readonly is: (step: Step, modelErrno: string) => boolean;
}

export const KNOWN: readonly Known[] = [
  {
    since: [6, 17],
    text: 'mremap with MREMAP_FIXED checks its arguments before it looks for an area (EINVAL before EFAULT), and moves several areas, and gaps between them, where profiles answer EFAULT',
    is: ({ call, to }, modelErrno) => call === 'mremap' && to !== null && modelErrno === 'EFAULT',
  },
];

export function knownFor(kernel: string): readonly Known[] {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return KNOWN.filter(({ since }) => major > since[0] || (major === since[0] && minor >= since[1]));
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
