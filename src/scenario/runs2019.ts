/**
 * Words of a 2019 call as the era's records write them: runs of words alike.
 *
 *   f: V valid, W write, P device private; E, S the driver's values, - NONE; in:fw as the caller left it, with its request.
 *   k: kind of frame; pfn0: the frames from 0 on, of a huge entry that is empty.
 *   cong: only of device frames, and of RAM where frames and addresses agree by 2M or more.  at: as in modern records.
 */
import { PMD_PAGES, PUD_PAGES } from '../abi.ts';
import { LEGACY_FORMAT } from '../dmirror/index.ts';
import type { Platform } from '../memremap/index.ts';
import { DEVICE_BASE_PFN, PAGE_OF_HUGE, RAM_BASE_PFN } from '../page/index.ts';
import type { Vpn } from '../units.ts';
import type { Process } from './process.ts';
import { kindOfRam } from './pageRuns.ts';
import type { Answer } from './operation.ts';
import { DEVICE_PRIVATE, UNTOUCHED, VALID, WRITE } from './walk2019.ts';

interface Told {
  readonly f: string;
  /** -1: no frame */
  readonly pfn: number;
  readonly kind: string;
  readonly inDevice: boolean;
}

/** Runs of `words`, of which the first stands for page `start`. */
export function runs2019(process: Process, words: BigUint64Array, start: Vpn): Answer[] {
  const { platform } = process.guest;
  const runs: Answer[] = [];
  const halves = new Uint32Array(words.buffer, words.byteOffset, words.length * 2);
  for (let i = 0, end = 0; i < words.length; i = end) {
    const first = told(platform, words[i] as bigint);
    const pfns = [first.pfn];
    for (end = i + 1; end < words.length; end++) {
      if (isSurelyAlike(platform, halves, end, first, first.pfn + end - i)) {
        pfns.push(first.pfn < 0 ? first.pfn : first.pfn + end - i);
        continue;
      }
      const next = told(platform, words[end] as bigint);
      const follows = !(first.inDevice || first.kind === 'pfn0') || next.pfn === first.pfn + end - i;
      if (next.f !== first.f || next.kind !== first.kind || !follows) break;
      pfns.push(next.pfn);
    }
    const run: Answer = { n: end - i, f: first.f };
    if (first.pfn >= 0) run['k'] = first.kind;
    const cong = congruence(platform, first, pfns, start + i);
    if (cong !== null) run['cong'] = cong;
    if (first.inDevice) run['at'] = process.frame(first.kind, first.pfn);
    runs.push(run);
  }
  return runs;
}

/**
 * Is word `i`, for frame `pfn`, one of a run that the word before it belongs to, at a look? It is the same word and holds no frame, or
 * that of the device's next frame. A range may have a million of them.
 */
function isSurelyAlike({ pgmaps }: Platform, halves: Uint32Array, i: number, first: Told, pfn: number): boolean {
  if (halves[2 * i + 1] !== halves[2 * i - 1]) return false;
  const step = (halves[2 * i] as number) - (halves[2 * i - 2] as number);
  if (first.pfn < 0) return step === 0;
  return first.inDevice && step === 2 ** LEGACY_FORMAT.pfnShift && pgmaps.find(pfn)?.name === first.kind;
}

/** The frame in a word, or -1. */
export function frameOf2019(word: bigint): number {
  return letters(word).startsWith('V') ? Number(word >> BigInt(LEGACY_FORMAT.pfnShift)) : -1;
}

function told(platform: Platform, word: bigint): Told {
  const f = letters(word);
  const pfn = frameOf2019(word);
  if (pfn < 0) return { f, pfn, kind: '', inDevice: false };
  const device = platform.pgmaps.find(pfn);
  if (device !== null) return { f, pfn, kind: device.name, inDevice: true };
  return { f, pfn, kind: pfn < PMD_PAGES ? 'pfn0' : kindOfRam(platform, pfn), inDevice: false };
}

function letters(word: bigint): string {
  const [error, none, special] = LEGACY_FORMAT.values;
  if (word === none) return '-';
  if (word === error) return 'E';
  if (word === special) return 'S';
  const asks = `${(word & VALID) === 0n ? '' : 'f'}${(word & WRITE) === 0n ? '' : 'w'}${(word & DEVICE_PRIVATE) === 0n ? '' : 'p'}`;
  if ((word & ~(VALID | WRITE | DEVICE_PRIVATE)) === UNTOUCHED) return `in:${asks}`;
  return asks.replace('f', 'V').replace('w', 'W').replace('p', 'P');
}

function congruence(platform: Platform, first: Told, pfns: readonly number[], start: Vpn): '4K' | '2M' | '1G' | null {
  if (first.pfn < 0 || first.kind === 'pfn0') return null;
  const agree = (npages: number): boolean => pfns.every((pfn, i) => (pfn - (start + i)) % npages === 0);
  // Single pages of RAM lie where the allocator put them, by chance at their address too: that is not told.
  if (!first.inDevice && pfns.some((pfn) => isScattered(platform, pfn))) return null;
  if ((!first.inDevice || first.kind.startsWith('dax')) && agree(PUD_PAGES)) return '1G';
  if (agree(PMD_PAGES)) return '2M';
  return first.inDevice ? '4K' : null;
}

/** A page of RAM by itself, and always was. */
function isScattered({ ram, records }: Platform, pfn: number): boolean {
  if (pfn < RAM_BASE_PFN || pfn >= DEVICE_BASE_PFN || ram.isZero(pfn)) return false;
  return ram.order(pfn) === 0 && (records.flags(pfn) & PAGE_OF_HUGE) === 0;
}
