/** Files and file systems: fs, open, close, unlink, clone, truncate, falloc, pwrite, pread, fsync, stat, extents. */
import { PMD_PAGES, PUD_PAGES } from '../../abi.ts';
import { HmmError } from '../../errno.ts';
import { FILE_PAGES_MAX, type ExtentPages } from '../../fs/index.ts';
import type { FallocMode } from '../../mm/index.ts';
import { byteRuns } from '../bytes.ts';
import { hex } from '../guest.ts';
import { openMemfd, openPath, writableFile } from '../open.ts';
import { Skip, type OperationList } from '../operation.ts';
import type { Args } from '../parse.ts';

/** What a new file asks for. */
function extentPagesOf(args: Args): ExtentPages | undefined {
  if (!args.has('extsize')) return undefined;
  const npages = args.size('extsize') / 4096;
  if (npages !== 1 && npages !== PMD_PAGES && npages !== PUD_PAGES) throw new HmmError('EINVAL', 'open', 'extents come in units of 4K, 2M or 1G');
  return npages;
}

export const FILE_OPERATIONS: OperationList = {
  'fs ext4|xfs|xfsn [TEXT]': function* fs(process, args) {
    const options = args.word('TEXT');
    if (!/^(|nodax|dax=(always|inode|never))$/.test(options)) throw new Skip(`no mount option ${options}`);
    return { exit: process.guest.newFileSystem(args.word('ext4|xfs|xfsn'), options === '' || options === 'dax=always') === null ? 1 : 0 };
  },
  // extsize: a new file's blocks come in such units (4K, 2M, 1G)
  'open ID WORD [ro] [trunc] [direct] [extsize=SIZE]': function* open(process, args) {
    const flags = { readOnly: args.has('ro'), truncate: args.has('trunc'), direct: args.has('direct'), extentPages: extentPagesOf(args) };
    process.files.set(args.word('ID'), yield* openPath(process, args.word('WORD'), flags));
    return { err: 'ok' };
  },
  'close ID': function* close(process, args) {
    process.file(args.word('ID')).close();
    process.files.delete(args.word('ID'));
    return { err: 'ok' };
  },
  'unlink ID': function* unlink(process, args) {
    process.file(args.word('ID')).unlink();
    return { err: 'ok' };
  },
  'memfd ID [huge2m] [huge1g]': function* memfd(process, args) {
    const { huge2m, huge1g } = process.guest.platform.hugePools;
    const pool = args.has('huge2m') ? huge2m : args.has('huge1g') ? huge1g : null;
    process.files.set(args.word('ID'), openMemfd(process, args.word('ID'), pool));
    return { err: 'ok' };
  },
  'clone DST SRC [SRCOFF] [LEN] [DSTOFF]': function* clone(process, args) {
    const [dest, { file: source, place }] = [process.calls(args.word('DST')), process.file(args.word('SRC'))];
    const to = process.file(args.word('DST'));
    if (!to.file.writable && to.place === place) throw new HmmError('EBADF', 'clone', `${args.word('DST')} is open for reading alone`);
    if (dest.clone === undefined) throw new HmmError('EOPNOTSUPP', 'clone', 'its file system shares no blocks');
    const range = args.has('DSTOFF') ? [args.size('SRCOFF'), args.size('LEN'), args.size('DSTOFF')] : [0, 0, 0];
    yield* dest.clone(source.inode, ...(range as [number, number, number]));
    return { err: 'ok' };
  },
  'truncate ID SIZE': function* truncate(process, args) {
    yield* writableFile(process, args.word('ID'), 'EINVAL').truncate(args.size('SIZE'));
    return { err: 'ok' };
  },
  'falloc ID alloc|keep|punch|zero|collapse|insert|unshare OFF LEN': function* falloc(process, args) {
    const mode = args.word('alloc|keep|punch|zero|collapse|insert|unshare') as FallocMode;
    yield* writableFile(process, args.word('ID')).fallocate(mode, args.size('OFF'), args.size('LEN'));
    return { err: 'ok' };
  },
  'pwrite ID OFF LEN [BYTE]': function* pwrite(process, args) {
    const length = args.size('LEN');
    const n = yield* writableFile(process, args.word('ID')).write(args.size('OFF'), new Uint8Array(length).fill(args.number('BYTE', 1)));
    return { err: 'ok', ...(n === length ? {} : { short: n }) };
  },
  'pread ID OFF LEN': function* pread(process, args) {
    const bytes = new Uint8Array(args.size('LEN'));
    const n = yield* process.calls(args.word('ID')).read(args.size('OFF'), bytes);
    return { err: 'ok', ...(n === 0 ? {} : { bytes: byteRuns(bytes.subarray(0, n)) }), ...(n === bytes.length ? {} : { short: n }) };
  },
  'fsync ID': function* fsync(process, args) {
    yield* process.calls(args.word('ID')).sync(0, FILE_PAGES_MAX);
    return { err: 'ok' };
  },
  'stat ID': function* stat(process, args) {
    const { size, blocks, dax } = process.calls(args.word('ID')).stat();
    return { size: hex(size), blocks, dax };
  },
  'extents ID': function* list(process, args) {
    const { place } = process.file(args.word('ID'));
    const extents = process.calls(args.word('ID')).extents();
    if (extents === null) throw new HmmError('EOPNOTSUPP', 'fiemap', 'the file system does not tell');
    return {
      extents: extents.map(({ index, npages, pfn, flags }, i) => ({
        off: hex(index * 4096), len: hex(npages * 4096), at: process.frame(place, pfn),
        f: `${flags.map((flag) => `${flag} `).join('')}${i === extents.length - 1 ? 'last' : ''}`,
      })),
    };
  },
};
