/**
 * hmm_range_dma_map() and hmm_range_dma_unmap() of the 2019 series: fault a range, and give the device a bus address for each of
 * its pages (mm/hmm.c, v5.2; read in its sources, not asked of a kernel).
 *
 * Guarantee: a call that fails has mapped nothing in the end. Bus addresses stand in `daddrs`, one a page, 0 where the page's word
 * holds no frame. Pages are counted in 4K whatever `pageShift` the range has, as the words of a call with a larger one are not:
 * such a call maps what the words behind the answer happen to hold.
 *
 * A page written to by the device is mapped BIDIRECTIONAL, one that is only read TO_DEVICE; the word decides, at the time of the
 * mapping and again at that of the unmapping. Words of device-private pages are not left out: they are mapped as if RAM.
 *
 * Concurrency: as hmm_range_fault(): mmap_lock is held for reading, and afterwards still is unless the answer says `dropped`.
 * Between two pages others may run; the range is looked at before each page, which says nothing about the ones mapped.
 */
import { checkOptions } from '../errno.ts';
import { DEVICE_BASE_PFN, PAGE_DIRTY } from '../page/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn } from '../units.ts';
import { DMA_MAPPING_ERROR, dmaMapPage, dmaUnmapPage, type DmaDevice, type DmaDirection } from './dmaLedger.ts';
import { PFN_FLAG_WRITE, PFN_VALUE_NONE, decodePfn } from './need2019.ts';
import type { Range2019 } from './range2019.ts';
import { hmmRangeFault2019, type RangeAnswer, type RangeErrno } from './rangeFault2019.ts';

export interface DmaMapOptions {
  /** as hmm_range_fault's (default true) */
  readonly block?: boolean;
}

export interface DmaUnmapOptions {
  /** the device has written to what it could write to (default false) */
  readonly dirty?: boolean;
}

/**
 * Faults `range` and maps its pages for `device`; the result counts the pages mapped. Errors: those of hmm_range_fault();
 * EBUSY, nothing was faulted, or the range is not valid any more; EFAULT, the device has no room.
 * RangeError where `daddrs` is shorter than the range.
 */
export function* hmmRangeDmaMap(range: Range2019, device: DmaDevice, daddrs: Float64Array, options: DmaMapOptions = {}): Sleepable<RangeAnswer> {
  checkOptions('hmm_range_dma_map', options, ['block']);
  checkRoom('hmm_range_dma_map', range, daddrs);
  const answer = yield* hmmRangeFault2019(range, { block: options.block ?? true });
  if (typeof answer.result === 'string') return answer;
  if (answer.result === 0) return { result: 'EBUSY', dropped: answer.dropped };
  const { hmm, start, end, words } = range;
  const sched = hmm?.mm.platform.sched;
  const npages = end - start;
  let mapped = 0;
  for (let i = 0; i < npages; i++) {
    if (sched?.concurrent === true) yield sched.point('hmm_range_dma_map', hmm?.touches ?? '*');
    daddrs[i] = 0;
    const pfn = frameIn(range, words[i] as bigint);
    if (pfn < 0) continue;
    const refused = range.valid ? mapOne(range, device, daddrs, i, pfn) : 'EBUSY';
    if (refused !== null) {
      unwind(range, device, daddrs, i);
      return { result: refused, dropped: answer.dropped };
    }
    mapped++;
  }
  return { result: mapped, dropped: answer.dropped };
}

/**
 * Takes the mappings of a registered range back; words and addresses are NONE and 0 after it. Returns how many there were. EINVAL: a range that never
 * was registered has no pages. `dirty` marks ordinary pages which the device could write to; those of a DAX file have their dirt
 * in the file's own book, from the write fault on, and nothing is done for them.
 */
export function hmmRangeDmaUnmap(range: Range2019, device: DmaDevice, daddrs: Float64Array, options: DmaUnmapOptions = {}): number | 'EINVAL' {
  checkOptions('hmm_range_dma_unmap', options, ['dirty']);
  const { start, end, words, hmm } = range;
  if (end <= start) return 'EINVAL';
  checkRoom('hmm_range_dma_unmap', range, daddrs);
  let count = 0;
  for (let i = 0; i < end - start; i++) {
    const word = words[i] as bigint;
    const pfn = frameIn(range, word);
    if (pfn < 0) continue;
    const direction = directionOf(range, word);
    if (direction === 'bidirectional' && options.dirty === true && pfn < DEVICE_BASE_PFN && hmm !== null) {
      const { records } = hmm.mm.platform;
      records.setFlags(pfn, records.flags(pfn) | PAGE_DIRTY);
    }
    dmaUnmapPage(device, daddrs[i] as number, direction);
    words[i] = range.values[PFN_VALUE_NONE];
    daddrs[i] = 0;
    count++;
  }
  return count;
}

function mapOne(range: Range2019, device: DmaDevice, daddrs: Float64Array, i: number, pfn: Pfn): RangeErrno | null {
  const address = dmaMapPage(device, pfn, directionOf(range, range.words[i] as bigint));
  if (address === DMA_MAPPING_ERROR) return 'EFAULT';
  daddrs[i] = address;
  return null;
}

/** Back to nothing mapped, by the words, which stay. */
function unwind(range: Range2019, device: DmaDevice, daddrs: Float64Array, upTo: number): void {
  for (let i = 0; i < upTo; i++) {
    const word = range.words[i] as bigint;
    if (frameIn(range, word) < 0) continue;
    dmaUnmapPage(device, daddrs[i] as number, directionOf(range, word));
    daddrs[i] = 0;
  }
}

function directionOf(range: Range2019, word: bigint): DmaDirection {
  return (word & range.flags[PFN_FLAG_WRITE]) === 0n ? 'to-device' : 'bidirectional';
}

/** The frame in a word, or -1. */
function frameIn(range: Range2019, word: bigint): Pfn | -1 {
  const pfn = decodePfn(range, word);
  return pfn === null ? -1 : Number(pfn);
}

function checkRoom(op: string, range: Range2019, daddrs: Float64Array): void {
  const npages = range.end - range.start;
  if (daddrs.length < npages) throw new RangeError(`${op}: ${daddrs.length} addresses for ${npages} pages`);
}
