/**
 * The answer half of a request block: how a range call says where and why it ended. Every range call begins with
 * `begin` and ends with exactly one `stop`.
 */
import {
  REQ_VPN, STOP_CHANGED, STOP_DONE, STOP_END, STOP_ENTRY, STOP_FREED, STOP_LAST, STOP_LEAVES, STOP_LEVEL, STOP_REASON, STOP_SLOT, STOP_STEPS, STOP_VPN,
} from '../src/abi';
import { slotLevel, slotOffset } from './descend';

/** The page number stored at `address` as f64. */
@inline
export function loadPage(address: u32): u64 {
  return <u64><i64>load<f64>(address);
}

@inline
export function storePage(address: u32, page: u64): void {
  store<f64>(address, <f64><i64>page);
}

/** Clears what calls add to. */
export function begin(req: u32): void {
  store<u32>(req, 0, STOP_REASON);
  store<u32>(req, 0, STOP_STEPS);
  store<u64>(req, 0, STOP_LEAVES);
  store<u32>(req, 0, STOP_LEAVES + 8);
  store<u32>(req, 0, STOP_CHANGED);
  store<u32>(req, 0, STOP_FREED);
  store<f64>(req, load<f64>(req, REQ_VPN), STOP_LAST);
}

/** Writes the end of a call at page `vpn`, before the entry at `slot` (0: none), whose span in the range ends at `end`. Returns pages done. */
export function stop(req: u32, reason: u32, vpn: u64, end: u64, slot: u32): u32 {
  const done = <u32>(vpn - loadPage(req + REQ_VPN));
  const offset = slotOffset(slot);
  store<u32>(req, reason, STOP_REASON);
  storePage(req + STOP_VPN, vpn);
  storePage(req + STOP_END, end);
  store<u32>(req, offset, STOP_SLOT);
  store<u32>(req, slotLevel(slot), STOP_LEVEL);
  store<u64>(req, offset == 0 ? 0 : load<u64>(offset), STOP_ENTRY);
  store<u32>(req, done, STOP_DONE);
  return done;
}

@inline
export function countLeaves(req: u32, level: u32, leaves: u32): void {
  const at = req + STOP_LEAVES + (level << 2);
  store<u32>(at, load<u32>(at) + leaves);
}
