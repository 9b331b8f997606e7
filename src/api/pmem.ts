/** Pmem: a persistent memory device with a DAX file system on it; DaxDevice: one mapped as it is. */
import { killDaxDevice, openDaxDevice, type DaxDevice as CoreDevice } from '../dax/index.ts';
import { HmmError, checkOptions } from '../errno.ts';
import { backLinear, type ExtentPages, type FileSystem } from '../fs/index.ts';
import type { PgMap, PgMapState } from '../memremap/index.ts';
import type { MappedFile } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import { PAGE_SIZES, alignUp, type PageSize } from '../units.ts';
import { checkBytes, checkData, checkName, checkOneOf } from './checks.ts';
import type { Driver } from './driver.ts';
import { DaxFile } from './file.ts';
import { keepBacking, mapHost } from './hostBacking.ts';
import type { Native } from './native.ts';

export interface FileOptions {
  /** bytes (default 0); the blocks are written and read zero, unless `sparse` */
  readonly size?: number;
  /** sizes of page that its extents are aligned for (default 2M); 4K files are never mapped by anything larger */
  readonly extent?: PageSize;
  /** leave the file a hole (default false) */
  readonly sparse?: boolean;
  /** the file's first bytes; with `size`, the rest is zero */
  readonly bytes?: Uint8Array;
}

/** A real file brought onto pmem: mapped there with the addon, read in without it. */
export interface HostFileOptions {
  /** a path, or with the addon an open descriptor, to stay open until the machine is reset */
  readonly path: string | number;
  /** bytes of it */
  readonly length: number;
  readonly extent?: PageSize;
  /**
   * With the addon: stores reach the real file, fsync makes them durable there. Refused with EOPNOTSUPP without it. The two part for good
   * before the first truncate or punch, or when the simulated file is deleted: these never touch the real one.
   */
  readonly shared?: boolean;
  /** size of the simulated file, at least `length`; the rest is zero */
  readonly size?: number;
  /** reads the whole file into the bytes given, for use without the addon */
  readonly readInto: (target: Uint8Array) => void;
}

/** dev_pagemap: the life of the frames behind a device. */
export class PgMapView {
  readonly #map: PgMap;
  /** @internal */
  constructor(map: PgMap) {
    this.#map = map;
  }

  get state(): PgMapState {
    return this.#map.state;
  }

  /** References beyond the base; 0 when everybody has put theirs back. */
  get refs(): number {
    return this.#map.refs;
  }

  /** Who holds them. */
  get holders(): ReadonlyMap<string, number> {
    return this.#map.holders;
  }

  get basePfn(): bigint {
    return BigInt(this.#map.basePfn);
  }

  /** get_dev_pagemap(): a reference, or null when the pagemap is dying or the frame is not its own. Put it back with `put()` or `using`. */
  tryGet(pfn: bigint): ({ put(): void } & Disposable) | null {
    if (!this.#map.covers(Number(pfn)) || !this.#map.tryGet('api')) return null;
    let held = true;
    const put = (): void => {
      if (held) this.#map.put('api');
      held = false;
    };
    return { put, [Symbol.dispose]: put };
  }
}

/** A pmem device in fs-dax mode. Sizes are bytes. */
export class Pmem {
  readonly name: string;
  readonly size: number;
  readonly pgmap: PgMapView;
  readonly #driver: Driver;
  readonly #fs: FileSystem;
  readonly #native: Native | null;

  /** @internal made by `Machine.pmem` */
  constructor(driver: Driver, fs: FileSystem, native: Native | null) {
    this.name = fs.name;
    this.size = fs.pgmap.npages * 4096;
    this.pgmap = new PgMapView(fs.pgmap);
    this.#driver = driver;
    this.#fs = fs;
    this.#native = native;
  }

  /** @internal */
  get fileSystem(): FileSystem {
    return this.#fs;
  }

  get freeBytes(): number {
    return this.#fs.freePages * 4096;
  }

  /** Creates and opens a file. Throws EEXIST, ENOSPC, ENOMEM; then there is no such file. */
  file(name: string, options: FileOptions = {}): DaxFile {
    checkName('file', name);
    checkOptions('file', options, ['size', 'extent', 'sparse', 'bytes']);
    const bytes = options.bytes === undefined ? null : checkData('file', 'bytes', options.bytes);
    const size = checkBytes('file', 'size', options.size ?? bytes?.length ?? 0);
    if (bytes !== null && bytes.length > size) throw new RangeError(`file: size ${size} is less than the ${bytes.length} bytes given`);
    return this.#create(name, options.extent ?? '2M', size, options.sparse === true, (file) => {
      if (bytes !== null && bytes.length > 0) file.write(0, bytes);
    });
  }

  /**
   * Its driver is unbound under the file system: mappings stay and read, nothing else reaches a block, and nobody is waited for but, in
   * v5.2, who holds pages.
   */
  unbind(): void {
    this.#driver.run('unbind', this.#driver.core.unbindPmem(this.#fs));
  }

  /** Opens a file that is there. Throws ENOENT. */
  open(name: string, options: { readOnly?: boolean } = {}): DaxFile {
    checkOptions('open', options, ['readOnly']);
    this.#driver.check('open');
    return new DaxFile(this.#driver, this.#fs.lookup(name), options.readOnly !== true);
  }

  /**
   * Brings a real file onto the device as `name`. Private: the real one is never changed. Throws ENOSPC, ENOMEM, and what the
   * addon's mapFile throws; then there is no such file.
   */
  hostFile(name: string, options: HostFileOptions): DaxFile {
    checkOptions('hostFile', options, ['path', 'length', 'extent', 'shared', 'size', 'readInto']);
    const { path, length, extent = '2M', shared = false } = options;
    const size = checkBytes('hostFile', 'size', options.size ?? length);
    if (length === 0) throw new HmmError('EINVAL', 'hostFile', `${path} is empty`);
    if (size < length) throw new RangeError(`hostFile: size ${size} is less than the file's ${length} bytes`);
    const native = this.#native;
    if (shared && native === null) throw new HmmError('EOPNOTSUPP', 'hostFile', 'a shared mapping of a real file needs the native addon (npm run build:native)');
    return this.#create(name, extent, size, false, (file) => {
      const backing = backLinear(file.inode, length);
      try {
        if (native !== null) {
          mapHost(this.#driver, native, file.inode, backing, { path, length, isShared: shared });
          return;
        }
        options.readInto(this.#driver.core.platform.arena.u8.subarray(backing.offset, backing.offset + length));
        keepBacking(this.#driver, backing);
      } catch (error) {
        backing.release();
        throw error;
      }
    });
  }

  /** Kills the pagemap: no new reference can be taken. Mappings stay as they are (spec: the window before unmap). */
  kill(): void {
    this.#driver.check('kill');
    this.#driver.core.platform.pgmaps.kill(this.#fs.pgmap);
  }

  /** memunmap_pages(): waits for every reference. EDEADLK where one is never put back. */
  drain(): void {
    this.#driver.run('drain', this.#driver.core.platform.pgmaps.drain(this.#fs.pgmap));
  }

  /** A file with its blocks, or none: what fails while it is made is undone. */
  #create(name: string, extent: PageSize, size: number, sparse: boolean, fill: (file: DaxFile) => void): DaxFile {
    this.#driver.check('file');
    checkOneOf('file', 'extent', extent, ['4K', '2M', '1G']);
    const inode = this.#fs.create(name, PAGE_SIZES[extent].npages as ExtentPages);
    const file = new DaxFile(this.#driver, inode, true);
    try {
      if (size > 0 && !sparse) this.#fs.allocateWritten(inode, 0, alignUp(size, 4096) / 4096);
      if (size > 0) this.#fs.setSize(inode, size);
      fill(file);
      return file;
    } catch (error) {
      file.unlink();
      file.close();
      throw error;
    }
  }
}

/** Device DAX: frames mapped as they are, in leaves of one size. */
export class DaxDevice {
  readonly name: string;
  readonly size: number;
  readonly align: PageSize;
  readonly pgmap: PgMapView;
  readonly #driver: Driver;
  readonly #device: CoreDevice;
  readonly #mapped: MappedFile;

  /** @internal made by `Machine.daxDevice` */
  constructor(driver: Driver, device: CoreDevice, align: PageSize) {
    this.name = device.name;
    this.size = device.pgmap.npages * 4096;
    this.align = align;
    this.pgmap = new PgMapView(device.pgmap);
    this.#driver = driver;
    this.#device = device;
    this.#mapped = openDaxDevice(device);
  }

  /** What a task can `yield*`. */
  readonly task = { unbind: (): Sleepable<void> => killDaxDevice(this.#device) };

  /** Takes the device away: mappings are dropped, references waited for. EDEADLK where one is never put back. */
  unbind(): void {
    this.#driver.run('unbind', this.task.unbind());
  }

  /** @internal the port that mmap takes */
  mappedFile(): MappedFile {
    this.#driver.check('mmap');
    return this.#mapped;
  }
}
