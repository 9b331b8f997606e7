/**
 * Table frames: 4 KiB each, from a bump pointer and a list of freed ones. All state is in the arena header.
 *
 * A frame comes zeroed, unless it is asked for raw. Memory in [HDR_CLEAN_START, HDR_CLEAN_END) was never written and is not zeroed again.
 */
import {
  HDR_CLEAN_END, HDR_CLEAN_START, HDR_FAIL_AFTER, HDR_FRAMES_USED, HDR_FRAME_FREE, HDR_FRAME_LIMIT, HDR_FRAME_NEXT, HDR_TABLES_CHANGED, PAGE_SIZE,
} from '../src/abi';

/** A zeroed frame's offset, or 0 when there is none, or when HDR_FAIL_AFTER counts down to this allocation. */
export function frameAlloc(): u32 {
  return take(true);
}

/** The same for who writes all of it before anyone can see it: what is in it is left there. */
export function frameAllocRaw(): u32 {
  return take(false);
}

@inline
function take(zeroed: bool): u32 {
  const left = load<u32>(HDR_FAIL_AFTER);
  if (left != 0) {
    store<u32>(HDR_FAIL_AFTER, left - 1);
    if (left == 1) return 0;
  }
  let frame = load<u32>(HDR_FRAME_FREE);
  if (frame != 0) {
    store<u32>(HDR_FRAME_FREE, load<u32>(frame));
    if (zeroed) memory.fill(frame, 0, PAGE_SIZE);
  } else {
    frame = load<u32>(HDR_FRAME_NEXT);
    const limit = load<u32>(HDR_FRAME_LIMIT);
    if (frame >= limit || limit - frame < <u32>PAGE_SIZE) return 0;
    const end = frame + PAGE_SIZE;
    store<u32>(HDR_FRAME_NEXT, end);
    if (zeroed && (frame < load<u32>(HDR_CLEAN_START) || end > load<u32>(HDR_CLEAN_END))) memory.fill(frame, 0, PAGE_SIZE);
    if (end > load<u32>(HDR_CLEAN_START)) store<u32>(HDR_CLEAN_START, end);
  }
  store<u32>(HDR_FRAMES_USED, load<u32>(HDR_FRAMES_USED) + 1);
  return frame;
}

/** Takes back a frame of frameAlloc's. Whoever may still walk it is the caller's concern. */
export function frameFree(frame: u32): void {
  store<u32>(frame, load<u32>(HDR_FRAME_FREE));
  store<u32>(HDR_FRAME_FREE, frame);
  store<u32>(HDR_FRAMES_USED, load<u32>(HDR_FRAMES_USED) - 1);
}

/** Counts entries written, for whoever wants to know whether any were. */
@inline
export function tablesChanged(entries: u32): void {
  store<u32>(HDR_TABLES_CHANGED, load<u32>(HDR_TABLES_CHANGED) + entries);
}
