/**
 * range->valid, 2019 (include/linux/hmm.h: hmm_range_valid): not true while an invalidation that touches the range is in flight, and
 * taken away by no other. What is taken away for nothing costs the driver its work, and a wait.
 */
import type { MachineEvent } from '../events/events.ts';
import { addrOf, hex, type Vpn } from '../units.ts';
import type { Report } from './finding.ts';
import type { Looked, Rule } from './rules.ts';
import type { Told } from './told.ts';

/** `range->valid` has just been said. */
export function checkValid(space: Told, { start, end, valid, update }: Extract<MachineEvent, { type: 'hmm-valid' }>, report: Report, looked: Looked): void {
  looked['hmm-answers']++;
  const { mm } = space;
  if (!mm.alive) return;
  const found = (what: string, missing: string, rule: Rule = 'hmm-answers'): void => report({ rule, mm: mm.id, start, end, what: `the range ${textOf(start, end)} of ${mm.name} ${what}`, missing });
  if (update !== null) {
    if (update.start >= end || start >= update.end) found(`stops being valid by an invalidation of ${textOf(update.start, update.end)}, which is none of it`, 'a range is touched by what begins before its end and ends after its start');
  } else if (valid) {
    if (space.isTold(start, end)) found('is valid while an invalidation of it is in flight', 'range->valid stays false until the last one has ended');
  } else if (!space.touches(start, end)) {
    const { open } = space;
    if (open.length > 0) found(`is not valid, and no invalidation of it is in flight, only ${open.map((one) => `${one.event} of ${textOf(one.start, one.end)}`).join(', ')}`, 'range->valid for every range that nothing in flight touches');
    else found('is not valid, and no invalidation is in flight: one is counted that has ended, or was refused', 'the count that a start raised goes back with its end, or where it fails', 'balanced');
  }
}

function textOf(start: Vpn, end: Vpn): string {
  return `${hex(addrOf(start))}..${hex(addrOf(end))}`;
}
