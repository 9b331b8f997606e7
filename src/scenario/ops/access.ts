/** Loads and stores by the CPU (touch, peek, poke) and by a device (dread, dwrite). */
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from '../../hmm/index.ts';
import { FaultSignal, KernelCrash } from '../../errno.ts';
import { DEVICE_BASE_PFN } from '../../page/index.ts';
import { cpuLoad, cpuStore, type Mm } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { hex, type Pfn } from '../../units.ts';
import { byteRuns } from '../bytes.ts';
import { walkPages } from '../modernWalk.ts';
import type { Answer, OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import { signalAnswer } from '../perform.ts';
import type { Process } from '../process.ts';
import { ownerOf } from './hmm.ts';

/** A device that faults a page, then reads (`value` null) or writes its bytes behind the word; it stops where a page cannot be had. */
function* deviceAccess(process: Process, args: Args, value: number | null): Sleepable<Answer> {
  const { content } = process.guest.platform.arena;
  const start = process.byte(args.address('ADDR'));
  const length = args.size('LEN');
  if (length === 0 && start % 4096 === 0) return { ioctl: 'EINVAL' };
  const owner = ownerOf(process, args);
  const bytes = new Uint8Array(length).fill(value ?? 0);
  const defaultFlags = value === null ? HMM_PFN_REQ_FAULT : HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
  let done = 0;
  let err: string | null = null;
  while (done < length) {
    const within = (start + done) % 4096;
    const part = Math.min(length - done, 4096 - within);
    const walked = yield* walkPages(process.mm, (start + done - within) / 4096, 1, { defaultFlags, owner });
    // The owner's device pages that are read only are so whatever it asked.
    err = walked.err ?? (value !== null && !walked.words.at(0).f.includes('W') ? 'EACCES' : null);
    if (err !== null) break;
    requireKernelMapping(process, walked.words.pfn(0));
    const from = walked.words.pfn(0) * 4096 + within;
    if (value === null) content.read(from, bytes, done, part);
    else content.write(from, bytes, done, part);
    done += part;
  }
  return { err: err ?? 'ok', done, ...(value === null && done > 0 ? { bytes: byteRuns(bytes.subarray(0, done)) } : {}) };
}

/** The probe copies through the kernel's own mapping of a page, which goes with the page's device. */
function requireKernelMapping(process: Process, pfn: Pfn): void {
  if (pfn >= DEVICE_BASE_PFN && process.guest.platform.pgmaps.find(pfn) === null) throw new KernelCrash(`page fault: frame ${hex(pfn)} is not mapped by the kernel any more`);
}

/** bytes that one instruction of the guest's memcpy() loads */
const VECTOR_BYTES = 32;

/** How many bytes memcpy() loads before it loads the last 32; longer copies than 8 KiB it only takes in order, short ones in one go. */
function headBytes(length: number): number {
  if (length <= VECTOR_BYTES || length > 8192) return 0;
  return length > 256 || length <= 64 ? VECTOR_BYTES : length <= 128 ? 64 : 128;
}

/** memcpy() out of memory: the bytes, and which of them faults first (recorded: peek-order). */
function* copyOut(mm: Mm, start: number, bytes: Uint8Array): Sleepable<void> {
  const load = (from: number, to: number): Sleepable<void> => cpuLoad(mm, Math.floor((start + from) / 4096), (start + from) % 4096, bytes.subarray(from, to));
  const head = headBytes(bytes.length);
  if (head > 0) {
    yield* load(0, head);
    yield* load(bytes.length - VECTOR_BYTES, bytes.length);
  }
  yield* load(0, bytes.length);
}

export const ACCESS_OPERATIONS: OperationList = {
  'touch ADDR r|w [n=SIZE] [step=SIZE] [byte=BYTE]': function* touch(process, args) {
    // The runner looks for the word anywhere: an area of that name is written to.
    const write = args.word('r|w') === 'w' || args.word('ADDR') === 'w';
    const start = process.byte(args.address('ADDR'));
    const step = args.size('step', 4096);
    const byte = Uint8Array.of(0);
    let or = 0;
    const n = args.size('n', 1);
    for (let i = 0; i < n; i++) {
      const at = start + i * step;
      if (write) byte[0] = args.number('byte', 1);
      try {
        yield* (write ? cpuStore : cpuLoad)(process.mm, Math.floor(at / 4096), at % 4096, byte);
      } catch (error) {
        if (i === 0 || !(error instanceof FaultSignal)) throw error;
        return { ...signalAnswer(process, error), after: i };
      }
      or |= byte[0] as number;
    }
    return write ? { err: 'ok' } : { err: 'ok', or };
  },
  'peek ADDR LEN': function* peek(process, args) {
    const bytes = new Uint8Array(args.size('LEN'));
    yield* copyOut(process.mm, process.byte(args.address('ADDR')), bytes);
    return { err: 'ok', bytes: byteRuns(bytes) };
  },
  'poke ADDR LEN [BYTE]': function* poke(process, args) {
    yield* cpuStore(process.mm, ...process.split(args.address('ADDR')), new Uint8Array(args.size('LEN')).fill(args.number('BYTE', 1)));
    return { err: 'ok' };
  },
  'dread ADDR LEN [owner=N]': (process, args) => deviceAccess(process, args, null),
  'dwrite ADDR LEN [BYTE] [owner=N]': (process, args) => deviceAccess(process, args, args.number('BYTE')),
};
