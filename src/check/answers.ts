/**
 * What HMM refuses (mm/hmm.c: the four principles of hmm_range_fault()): EFAULT is for a page that cannot be had. One that the process
 * has mapped, in memory that is there, with the right that was asked for, can.
 */
import { PMD_PAGES } from '../abi.ts';
import type { MachineEvent } from '../events/events.ts';
import { VM_IO, VM_PFNMAP, VM_READ, type Mm } from '../mm/index.ts';
import { DEVICE_BASE_PFN } from '../page/index.ts';
import { hex, addrOf } from '../units.ts';
import { entryText, type Report } from './finding.ts';
import { chunkNow, entryAt, frameOf, writableAt } from './rights.ts';
import type { Looked } from './rules.ts';

/** hmm_range_fault() has just answered EFAULT at `vpn`. */
export function checkRefusal(mm: Mm, { vpn, write }: Extract<MachineEvent, { type: 'hmm-refused' }>, report: Report, looked: Looked): void {
  looked['hmm-answers']++;
  const vma = mm.vmas.at(vpn);
  if (vma === null || !vma.has(VM_READ) || vma.has(VM_IO | VM_PFNMAP)) return;
  const chunk = chunkNow(mm.pageTable, vpn);
  const i = vpn % PMD_PAGES;
  const frame = frameOf(chunk, i);
  if (frame < 0 || (write && !writableAt(chunk, i))) return;
  if (frame >= DEVICE_BASE_PFN && mm.platform.pgmaps.find(frame)?.state !== 'live') return;
  const cpu = entryText(entryAt(chunk, i), mm.platform.profile.devmapBit);
  report({
    rule: 'hmm-answers', mm: mm.id, start: vpn, end: vpn + 1, cpu,
    what: `hmm_range_fault() answers EFAULT for ${hex(addrOf(vpn))}, where ${mm.name} has ${cpu}`,
    missing: 'the page as it is, or brought back by migrate_to_ram() where it is in the memory of another device',
  });
}

/** handle_mm_fault() is about to be called for a page in no area. */
export function checkNoArea(mm: Mm, { vpn }: Extract<MachineEvent, { type: 'hmm-no-area' }>, report: Report, looked: Looked): void {
  looked['hmm-answers']++;
  report({ rule: 'hmm-answers', mm: mm.id, start: vpn, end: vpn + 1, what: `hmm_range_fault() hands ${hex(addrOf(vpn))} of ${mm.name} to handle_mm_fault(), with no area that it lies in`, missing: 'EFAULT for a page in no area' });
}
