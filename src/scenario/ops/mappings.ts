/** Operations on areas: map, hole, unmap, remap, protect, msync. */
import { HmmError } from '../../errno.ts';
import { VM_LOCKED, VM_NORESERVE, VM_READ, VM_WRITE, mmPopulate, mmap, mprotect, mremap, msync, munmap, newHugeAnon } from '../../mm/index.ts';
import type { Vpn } from '../../units.ts';
import type { OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';
import type { Process } from '../process.ts';

/** A page-aligned address. EINVAL. */
export function pageOf(process: Process, args: Args, place = 'ADDR'): Vpn {
  const [vpn, within] = process.split(args.address(place));
  if (within !== 0) throw new HmmError('EINVAL', place, 'the address is not page aligned');
  return vpn;
}

/** Bytes rounded up to pages, as system calls do. */
export function pagesUp(bytes: number): number {
  return Math.ceil(bytes / 4096);
}

export const MAPPING_OPERATIONS: OperationList = {
  'map ID LEN WHAT [off=SIZE] [prot=PROT] [private] [shared] [validate] [sync] [populate] [noreserve] [locked] [huge2m] [huge1g] [align=SIZE] [skew=SIZE] [at=ADDR]': function* map(process, args) {
    const id = args.word('ID');
    const npages = pagesUp(args.size('LEN'));
    const anon = args.word('WHAT') === 'anon';
    const { hugePools } = process.guest.platform;
    const pool = args.has('huge2m') ? hugePools.huge2m : args.has('huge1g') ? hugePools.huge1g : null;
    const file = !anon ? process.file(args.word('WHAT')).file : pool === null ? null : newHugeAnon(process.guest.platform, pool, npages);
    const at = args.has('at') ? pageOf(process, args, 'at') : process.place(npages, args.size('skew') / 4096, args.size('align') / 4096);
    yield* mmap(process.mm, {
      npages,
      prot: args.prot('prot', VM_READ | VM_WRITE),
      // The kinds are bits of one number: private and shared together ask for what `validate` asks for.
      shared: args.has('shared') || args.has('validate') || args.has('sync') || (!anon && !args.has('private')),
      file,
      pgoff: args.size('off') / 4096,
      start: at,
      fixed: 'fixed',
      sync: args.has('sync'),
      vmFlags: (args.has('locked') ? VM_LOCKED : 0) | (args.has('noreserve') ? VM_NORESERVE : 0),
    });
    if (args.has('populate') || args.has('locked')) yield* mmPopulate(process.mm, at, at + npages, true);
    process.areas.set(id, { id, vpn: at, npages });
    return { err: 'ok' };
  },
  'hole ID LEN [align=SIZE] [skew=SIZE]': function* hole(process, args) {
    const id = args.word('ID');
    const npages = pagesUp(args.size('LEN'));
    process.areas.set(id, { id, vpn: process.place(npages, 0), npages });
    return { err: 'ok' };
  },
  'unmap ADDR LEN': function* unmap(process, args) {
    yield* munmap(process.mm, pageOf(process, args), pagesUp(args.size('LEN')));
    return { err: 'ok' };
  },
  'remap ID ADDR OLD NEW [dontunmap] [inplace] [align=SIZE] [skew=SIZE]': function* remap(process, args) {
    const id = args.word('ID');
    const inPlace = args.has('inplace');
    const newPages = pagesUp(args.size('NEW'));
    const [start, within] = process.split(args.address('ADDR'));
    // The new place is used up even where the call is refused.
    const to = inPlace ? null : process.place(newPages, args.size('skew') / 4096, args.size('align') / 4096);
    if (within !== 0 || (to !== null && !Number.isInteger(to))) throw new HmmError('EINVAL', 'mremap', 'an address is not page aligned');
    const vpn = yield* mremap(process.mm, { start, oldPages: pagesUp(args.size('OLD')), newPages, mayMove: !inPlace, to, dontunmap: args.has('dontunmap') });
    if (!process.areas.has(id)) process.areas.set(id, { id, vpn, npages: newPages });
    return { err: 'ok' };
  },
  'protect ADDR LEN [PROT]': function* protect(process, args) {
    yield* mprotect(process.mm, pageOf(process, args), pagesUp(args.size('LEN')), args.prot('PROT'));
    return { err: 'ok' };
  },
  'msync ADDR LEN [sync] [async] [inval]': function* synchronize(process, args) {
    yield* msync(process.mm, pageOf(process, args), pagesUp(args.size('LEN')), args.has('async') ? 'async' : args.has('inval') ? 'invalidate' : 'sync');
    return { err: 'ok' };
  },
};
