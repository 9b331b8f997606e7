/**
 * How each bug switch is seen: the least that shows it, and the rule that it breaks there. Data only: `daxmirror bugs NAME` prints it, and
 * the regress suite plays it, off and on. The last line is the culprit, but for what puts things right `after` it.
 */
import type { BugSwitch } from './bugs.ts';

/** A scenario: `daxmirror run --bug NAME`. */
export interface ShownByRun {
  readonly by: 'run';
  /** a rule of check/ */
  readonly rule: string;
  readonly lines: readonly string[];
  readonly api?: 'modern' | '2019';
  readonly profile?: 'v5.2' | 'v6.1' | 'v6.12' | 'lab';
  /** switches of the era without which it does not come to this */
  readonly era?: readonly BugSwitch[];
  /** what follows the culprit: it ends what was begun */
  readonly after?: readonly string[];
  /** the breach shows only when all is over: nothing told that it had ended, or that it would be given back */
  readonly atEnd?: true;
}

/** A race: `daxmirror explore MODEL --bug NAME`. */
export interface ShownByExplore {
  readonly by: 'explore';
  readonly rule: string;
  readonly model: string;
}

/** What a device does wrong to a file: `daxmirror mirror --bug NAME`, in the step of that name. */
export interface ShownByMirror {
  readonly by: 'mirror';
  readonly rule: 'bytes';
}

/** A power cut: `daxmirror fsx --replay-ops FILE --bug NAME`. `head`: the layout. */
export interface ShownByFsx {
  readonly by: 'fsx';
  readonly rule: 'power cut';
  readonly head: string;
  readonly lines: readonly string[];
}

export type BugShow = ShownByRun | ShownByExplore | ShownByMirror | ShownByFsx;

const DAX = ['fs ext4', 'open f ext4:f', 'pwrite f 0 64K 1', 'map a 64K f'];
const DAX_2M = ['fs ext4', 'open f ext4:f', 'pwrite f 0 4M 1', 'map a 4M f', 'touch a w', 'touch a+2M r'];
const XFS = ['fs xfs', 'open f xfs:f', 'pwrite f 0 64K 1'];
const ANON = ['map a 64K anon', 'advise a 64K nohugepage', 'touch a w n=8'];
const FILLED = ['device gpu', 'fill gpu a 16K w'];

function run(rule: string, lines: readonly string[], more: Partial<ShownByRun> = {}): ShownByRun {
  return { by: 'run', rule, lines, ...more };
}

const answers = (lines: readonly string[], more: Partial<ShownByRun> = {}): ShownByRun => run('hmm-answers', lines, { api: '2019', ...more });
const told = (...lines: readonly string[]): ShownByRun => run('told-before-taken', lines);
const stale = (...lines: readonly string[]): ShownByRun => run('mirror-coherent', lines);
const race = (model: string, rule: string): ShownByExplore => ({ by: 'explore', model, rule });
const cut = (head: string, ...lines: readonly string[]): ShownByFsx => ({ by: 'fsx', rule: 'power cut', head, lines });

export const BUG_SHOWS: Readonly<Record<BugSwitch, BugShow>> = {
  // the API of 2019
  'leak-pgmap-on-special': run('pagemap-references', ['fs ext4', 'open f ext4:f', 'truncate f 8K', 'pwrite f 0 4K 1', 'map a 8K f', 'touch a w', 'touch a+4K r', 'snap a 8K'], { api: '2019', era: ['zero-page-special'], atEnd: true }),
  'zero-page-special': run('hmm-answers', ['map a 64K anon', 'advise a 64K nohugepage', 'touch a r', 'fault a 4K'], { api: '2019' }),
  'protnone-valid': answers([...ANON, 'numa a 8K', 'snap a 16K']),
  'dying-pagemap-retries': run('bounded-retries', ['open d dev:dax4k', 'map a 2M d', 'touch a w', 'dying dax4k', 'fault a 4K w'], { api: '2019' }),
  'swap-never-faulted': answers([...ANON, 'swap a 8K', 'fault a 16K']),
  'migrating-pmd-untouched': answers(['map a 2M anon', 'advise a 2M hugepage', 'touch a w', 'migrate a 4K', 'snap a 2M'], { after: ['unmigrate'] }),
  'hugetlb-empty-valid': answers(['map a 4M anon huge2m', 'touch a w', 'snap a 4M']),
  'page-shift-mixed': answers(['map a 160M anon huge2m noreserve', 'fault a 160M shift=21']),
  'chunk-faulting': answers([...ANON, 'hmm a+32K 32K mask=fw req=3:fw']),
  'block-may-drop-lock': answers(['fs ext4 nodax', 'open f ext4:f', 'pwrite f 0 4K 1', 'map a 4K f', 'touch a r', 'map b 4K f', 'migrate a 4K', 'async q fault b 4K once', 'sleep 300', 'unmigrate', 'wait q 5000']),
  'mixedmap-refused': run('hmm-answers', ['open d /dev/pages', 'map a 16K d', 'touch a r', 'fault a 4K']),
  'invalid-range-eagain': answers([...ANON, 'mirror m a 16K', 'inv_start a 16K', 'fault a 16K once'], { after: ['inv_end'] }),
  'fault-ignores-vm-write': run('bounded-retries', ['map a 12K anon', 'touch a r', 'protect a 12K r', 'fault a 8K w'], { api: '2019' }),
  'fault-under-pud-lock': run('atomic-sleep', ['open d dev:dax1g', 'map a 1G d prot=r', 'touch a r', 'fault a 4K w'], { api: '2019', era: ['fault-ignores-vm-write'] }),
  'gap-fault-without-vma': answers([...ANON, 'unmap a 4K', 'fault a 16K']),
  'snapshot-ignores-walk': answers([...ANON, 'advise a+4K 4K hwpoison', 'snap a 16K']),
  'fault-wipes-marker': answers([...ANON, 'advise a+4K 4K hwpoison', 'fault a 16K']),
  'count-stops-at-hole': answers(['map a 4M anon', 'snap a 4M']),
  'valid-aba': race('valid-aba', 'mirror-coherent'),
  'release-window': race('release-window', 'mirror-coherent'),
  'valid-per-mm': answers([...ANON, 'mirror m a 16K', 'inv_start a+32K 16K', 'snap a 16K once'], { after: ['inv_end'] }),
  'overlap-inclusive': answers([...ANON, 'mirror m a+16K 16K', 'unmap a 16K']),
  'mirror-eagain-lost': race('oom-register', 'mirror-coherent'),
  'nonblock-count-leak': race('oom-register', 'balanced'),
  // the device
  'skip-notifier': stale(...DAX, 'touch a w n=4', ...FILLED, 'unmap a 64K'),
  'stale-pfn': race('truncate-fault', 'mirror-coherent'),
  'wrong-frame': stale(...DAX, 'touch a w n=4', ...FILLED),
  'lost-device-write': { by: 'mirror', rule: 'bytes' },
  // drivers
  'retry-outside-lock': race('truncate-fault', 'mirror-coherent'),
  'set-seq-forgotten': race('truncate-fault', 'mirror-coherent'),
  'protection-ignored': stale(...DAX, 'touch a w n=4', ...FILLED, 'protect a 64K r'),
  'drops-first-page': stale(...ANON, ...FILLED, 'unmap a 64K'),
  'write-assumed': stale('fs ext4', 'open f ext4:f', 'pwrite f 0 64K 1', 'map a 64K f prot=r', 'device gpu', 'fill gpu a 16K'),
  'nonblock-skipped': race('oom-register', 'mirror-coherent'),
  'removed-in-callback': run('balanced', [...ANON, ...FILLED, 'unmap a 64K']),
  'kvm-retry-skipped': race('guest-munmap', 'mirror-coherent'),
  'eagain-ignored': race('fault-invalid', 'mirror-coherent'),
  'ebusy-forever': run('bounded-retries', ['map a 64K anon', 'touch a w', 'map b 64K anon', 'device gpu legacy', 'unmap b 64K', 'fill gpu a 4K r'], { era: ['munmap-never-ends', 'valid-per-mm'] }),
  'lock-dropped-twice': race('fault-invalid', 'lock-balance'),
  'lock-kept-on-ebusy': race('fault-invalid', 'lock-order'),
  'gone-mm-faulted': run('use-after-free', [...ANON, 'device gpu', 'exit', 'fill gpu a 4K r']),
  'close-keeps-pages': run('use-after-free', [...ANON, 'device gpu mem=0', 'todev 0 a 4K', 'detach gpu', 'touch a r']),
  'worker-skips-retry': race('worker-unmap', 'mirror-coherent'),
  // operations that tell nobody
  'munmap-untold': told(...DAX_2M, 'unmap a 4M'),
  'mremap-untold': told(...ANON, 'remap b a 64K 64K dontunmap'),
  'mprotect-untold': told(...DAX_2M, 'protect a 2M r'),
  'dontneed-untold': told(...ANON, 'advise a 16K dontneed'),
  'fork-untold': told(...ANON, 'fork c'),
  'cow-untold': told('map a 64K anon', 'advise a 64K nohugepage', 'touch a r', 'touch a w'),
  'hugetlb-cow-untold': told('map a 4M anon private huge2m', 'touch a w', 'fork c', 'touch a w'),
  'split-untold': told(...DAX_2M, 'unmap a+1M 64K'),
  'collapse-untold': told('map a 4M anon', 'advise a 4M nohugepage', 'touch a w n=512', 'advise a 4M hugepage', 'advise a 2M collapse'),
  'numa-untold': run('told-before-taken', [...ANON, 'numa a 8K'], { api: '2019' }),
  'swapout-untold': run('told-before-taken', [...ANON, 'swap a 8K'], { api: '2019' }),
  'migrate-untold': told(...ANON, 'advise a+4K 4K softoffline'),
  'collect-untold': told(...ANON, 'todev 0 a 32K'),
  'exclusive-untold': told(...ANON, 'excl 0 a 8K'),
  'poison-untold': told(...ANON, 'advise a+4K 4K hwpoison'),
  'writeback-untold': told(...DAX_2M, 'fsync f'),
  'truncate-untold': told(...DAX_2M, 'truncate f 1M'),
  'punch-untold': told(...DAX_2M, 'falloc f punch 2M 2M'),
  'zero-range-untold': told(...DAX_2M, 'falloc f zero 0 1M'),
  'entry-change-untold': told('fs ext4', 'open f ext4:f', 'truncate f 1M', 'map a 1M f', 'map b 1M f', 'touch a r', 'touch b w'),
  'cache-truncate-untold': told('open t tmp:t', 'pwrite t 0 64K 1', 'map a 64K t', 'touch a w n=4', 'truncate t 4K'),
  'unbind-untold': told('open d dev:dax4k', 'map a 2M d', 'touch a w', 'unbind dax4k'),
  'oom-reap-untold': told(...ANON, 'reap'),
  // the core's own steps
  'begin-does-not-wait': race('punch-write', 'refault-before-end'),
  'zap-ends-first': told(...ANON, 'advise a 32K dontneed'),
  'munmap-never-ends': run('balanced', [...ANON, 'unmap a 64K']),
  'range-end-unpaired': race('guest-reap', 'balanced'),
  'interval-remove-race': race('interval-remove', 'use-after-free'),
  'truncate-frees-first': race('truncate-fault', 'blocks-owned'),
  'end-without-start': run('balanced', [...DAX, 'touch a r', 'protect a 64K rx']),
  'clone-locks-by-argument': run('lock-order', [...XFS, 'open g xfs:g', 'pwrite g 0 64K 2', 'clone f g', 'clone g f'], { profile: 'v6.12' }),
  'pin-fails-holding': run('page-references', [...XFS, 'map a 64K f', 'touch a w n=4', 'pin p a 1 longterm'], { profile: 'v5.2', api: '2019' }),
  'layout-break-takes-copies': run('copies-kept', ['fs ext4', 'open f ext4:f', 'pwrite f 0 64K 1', 'map a 64K f private', 'touch a w', 'falloc f punch 16K 4K']),
  'wait-interruptible': run('blocks-owned', [...DAX, 'touch a w n=4', 'pin p a 1', 'truncate f 0']),
  'mremap-pmd-as-table': run('leaf-not-table', ['fs ext4', 'open f ext4:f', 'pwrite f 0 4M 1', 'map a 4M f', 'touch a r', 'remap b a+1M 64K 64K']),
  'pud-not-split': run('bounded-retries', ['fs ext4', 'open f ext4:f extsize=1G', 'truncate f 1G', 'map s 1G f', 'touch s w', 'map a 1G f private', 'touch a r', 'touch a w'], { profile: 'lab' }),
  'flush-first-page': cut('fs=ext4 flen=0x400000', 'fallocate 0 0x400000 0', 'mapwrite 0x1ff000 0x2000 0x400000', 'fsync 0 0 0x400000'),
  'dax-index-rounded-up': run('poison-unmapped', ['open d dev:dax2m', 'map a 4M d', 'touch a+1M w', 'advise a+1M 4K hwpoison']),
  'dax-wakeup-missed': race('write-faults', 'woken'),
  'huge-over-small': run('dirty-tracked', ['fs ext4', 'open f ext4:f', 'pwrite f 0 4M 1', 'map a 4M f', 'advise a 4M nohugepage', 'touch a+4K w', 'map b 4M f', 'touch b r'], { profile: 'v6.12' }),
  'hugetlb-fault-in-walk': run('lock-order', ['map a 4M anon private huge2m', 'fault a 4K w']),
  'insert-overwrites': race('huge-faults', 'mirror-coherent'),
  'pagemap-gone-early': run('page-references', ['open d dev:dax4k', 'map a 2M d', 'touch a w', 'pin p a 1', 'async u unbind dax4k', 'wait u 100'], { profile: 'v5.2' }),
  'gup-huge-keeps-pgmap': run('pagemap-references', [...DAX_2M, 'saturate a', 'pin p a 1'], { atEnd: true }),
  'device-page-uncounted': run('page-references', [...ANON, 'todev 0 a 16K', 'async d devdown 0', 'wait d 100']),
  'private-fault-unheld': race('private-touch', 'page-references'),
  'exclusive-removed-unheld': race('exclusive-touch', 'page-references'),
  'exclusive-takes-hugetlb': run('page-references', ['map a 2M anon private huge2m', 'touch a w', 'excl 0 a 4K'], { profile: 'v6.12' }),
  'unmap-bad-subpage': run('page-references', [...ANON, 'todev 0 a 16K', 'evict 0']),
  'devmap-pte-special': run('hmm-answers', [...DAX, 'touch a w', 'fault a 4K']),
  'private-of-other-refused': run('hmm-answers', ['map a 16K anon', 'touch a w n=4', 'todev 0 a 4K', 'fault a 4K']),
  // what survives a power cut
  'fsync-skips-flush': cut('fs=ext4', 'truncate 0 0x4000 0', 'mapwrite 0x1000 0x100 0x4000', 'fsync 0 0 0x4000'),
  'write-cached': cut('fs=ext4', 'write 0 0x100 0', 'fsync 0 0 0x100'),
  'commit-without-fence': cut('fs=ext4', 'write 0 0x100 0', 'fsync 0 0 0x100'),
  'new-blocks-unflushed': cut('fs=xfs profile=v6.12', 'write 0 0x4000 0', 'truncate 0 0x2000 0x4000', 'fsync 0 0 0x4000', 'truncate 0 0x4000 0x2000', 'write 0x2010 0x10 0x4000', 'fsync 0 0 0x4000'),
  'blocks-reused-early': cut('fs=xfs profile=v6.12 files=2', 'write 0 0x1000 0', 'fsync 0 0 0x1000', 'truncate 0 0 0x1000', '#! file=1', 'write 0 0x1000 0'),
  'sync-fault-without-commit': run('sync-order', [...XFS, 'map a 64K f sync', 'touch a+4K w'], { profile: 'v6.12' }),
  'sync-copy-unflushed': cut('fs=xfs profile=lab', 'write 0 0x1000 0', 'clone_range 0 0x1000 0x1000 0x1000', 'fsync 0 0 0x2000', '#! flush=1', 'mapwrite 0x1800 0x10 0x2000'),
  'device-fault-not-dirty': run('dirty-tracked', [...XFS, 'map a 64K f', 'fault a 4K w'], { profile: 'v6.12' }),
  'msync-off-by-one': cut('fs=ext4', 'mapwrite 0 0x2000 0', '#+ msync 0 0x2000 0x2000'),
};

/** The file that shows a switch: a scenario, or an op log with a power cut behind its last operation. Null: none is needed. */
export function showFile(show: BugShow): string | null {
  if (show.by === 'run') return `${[...show.lines, ...(show.after ?? [])].join('\n')}\n`;
  if (show.by === 'fsx') return `#! daxmirror-fsx 1 ${show.head} power=adr\n${show.lines.join('\n')}\n#! cut=0,1\n#! file=0\nread 0 0 0\n`;
  return null;
}

/** The command that shows it, NAME.scn or NAME.ops being that file. */
export function showCommand(bug: BugSwitch): string {
  const show = BUG_SHOWS[bug];
  switch (show.by) {
    case 'run': {
      const { profile, api, era = [] } = show;
      const more = [...(profile === undefined ? [] : [`--profile ${profile}`]), ...(api === undefined ? [] : [`--api ${api}`]), ...[...era, bug].map((one) => `--bug ${one}`)];
      return `daxmirror run ${bug}.scn ${more.join(' ')}`;
    }
    case 'explore':
      return `daxmirror explore ${show.model} --bug ${bug}`;
    case 'mirror':
      return `daxmirror mirror --bug ${bug}`;
    case 'fsx':
      return `daxmirror fsx --replay-ops ${bug}.ops --bug ${bug}`;
  }
}
