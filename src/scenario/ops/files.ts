/** Files and file systems: fs, open, close, truncate, falloc, pwrite, pread, fsync, stat, extents. */
import { daxAllocate, daxFsync, daxPunch, daxRead, daxTruncate, daxWrite, daxZeroRange } from '../../dax/index.ts';
import { byteRuns } from '../bytes.ts';
import { hex } from '../guest.ts';
import { Skip, type OperationList } from '../operation.ts';

export const FILE_OPERATIONS: OperationList = {
  'fs ext4|xfs|xfsn [TEXT]': function* fs(process, args) {
    if (args.has('TEXT')) throw new Skip(`no mount option ${args.word('TEXT')}`);
    process.guest.newFileSystem(args.word('ext4|xfs|xfsn'));
    return { exit: 0 };
  },
  'open ID WORD [ro] [trunc] [direct]': function* open(process, args) {
    const [place = '', name = ''] = args.word('WORD').split(':');
    if (place === 'dev') process.files.set(args.word('ID'), { place: name, what: process.guest.daxDevice(name), writable: !args.has('ro') });
    else {
      const fs = process.guest.fileSystem(place);
      process.files.set(args.word('ID'), { place, what: fs.inodes.get(name) ?? fs.create(name), writable: !args.has('ro') });
    }
    return { err: 'ok' };
  },
  'close ID': function* close(process, args) {
    process.file(args.word('ID'));
    process.files.delete(args.word('ID'));
    return { err: 'ok' };
  },
  'truncate ID SIZE': function* truncate(process, args) {
    yield* daxTruncate(process.inode(args.word('ID')), args.size('SIZE'));
    return { err: 'ok' };
  },
  'falloc ID alloc|keep|punch|zero|collapse|insert|unshare OFF LEN': function* falloc(process, args) {
    const inode = process.inode(args.word('ID'));
    const mode = args.word('alloc|keep|punch|zero|collapse|insert|unshare');
    const [offset, length] = [args.size('OFF'), args.size('LEN')];
    if (mode === 'alloc' || mode === 'keep') yield* daxAllocate(inode, offset, length, mode === 'keep');
    else if (mode === 'punch') yield* daxPunch(inode, offset, length);
    else if (mode === 'zero') yield* daxZeroRange(inode, offset, length, false);
    else throw new Skip(`no mode ${mode}`);
    return { err: 'ok' };
  },
  'pwrite ID OFF LEN [BYTE]': function* pwrite(process, args) {
    yield* daxWrite(process.inode(args.word('ID')), args.size('OFF'), new Uint8Array(args.size('LEN')).fill(args.number('BYTE')));
    return { err: 'ok' };
  },
  'pread ID OFF LEN': function* pread(process, args) {
    const bytes = new Uint8Array(args.size('LEN'));
    const n = yield* daxRead(process.inode(args.word('ID')), args.size('OFF'), bytes);
    return { err: 'ok', ...(n === 0 ? {} : { bytes: byteRuns(bytes.subarray(0, n)) }) };
  },
  'fsync ID': function* fsync(process, args) {
    yield* daxFsync(process.inode(args.word('ID')));
    return { err: 'ok' };
  },
  'stat ID': function* stat(process, args) {
    return { size: hex(process.inode(args.word('ID')).size), dax: true };
  },
  'extents ID': function* list(process, args) {
    const { place } = process.file(args.word('ID'));
    const extents = Array.from(process.inode(args.word('ID')).extents, ({ block, npages, pfn, state }) => ({
      off: hex(block * 4096), len: hex(npages * 4096), at: process.guest.frame(place, pfn), f: state === 'unwritten' ? 'unwritten' : '',
    }));
    return { extents };
  },
};
