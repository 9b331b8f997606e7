/** Real files over the arena: what is mapped, who sees stores, what is refused, what is left behind. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { PAGE, addon, loadsAndStores, runProgram, sharedMemory, temporaryFolder, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
const folder = temporaryFolder();
const AT = 65536;
let made = 0;

/** A file whose byte at x is (x * 7 + x / 4096) mod 251. */
function fileOf(bytes: number): { file: string; content: Uint8Array } {
  const content = Uint8Array.from({ length: bytes }, (_, x) => (x * 7 + Math.floor(x / PAGE)) % 251);
  const file = path.join(folder, `file${made++}`);
  writeFileSync(file, content);
  return { file, content };
}

function view(): Uint8Array {
  return new Uint8Array(sharedMemory().buffer);
}

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).name;
  }
  return 'nothing thrown';
}

describe('a private mapping', () => {
  it('shows the bytes of the file and leaves it unchanged by stores', () => {
    const native = addon();
    const { file, content } = fileOf(5 * PAGE);
    const before = { hash: createHash('sha256').update(readFileSync(file)).digest('hex'), mtime: statSync(file, { bigint: true }).mtimeNs };
    const memory = view();
    const handle = native.mapFile(memory, AT, 5 * PAGE, file, 0);
    expect(memory.subarray(AT, AT + 5 * PAGE)).toEqual(content);
    memory.fill(0xee, AT, AT + 5 * PAGE);
    expect(memory[AT + PAGE]).toBe(0xee);
    native.unmapFile(handle);
    expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(before.hash);
    expect(statSync(file, { bigint: true }).mtimeNs).toBe(before.mtime);
  });

  it('begins at fileOffset', () => {
    const native = addon();
    const { file, content } = fileOf(4 * PAGE);
    const memory = view();
    const handle = native.mapFile(memory, AT, PAGE, file, 2 * PAGE);
    expect(native.mappedLength(handle)).toBe(PAGE);
    expect(memory.subarray(AT, AT + PAGE)).toEqual(content.subarray(2 * PAGE, 3 * PAGE));
    native.unmapFile(handle);
  });

  it('covers only pages that hold bytes of the file; its last page ends in zeroes', () => {
    const native = addon();
    const { file, content } = fileOf(2 * PAGE + 100);
    const memory = view();
    memory.fill(0xaa);
    const handle = native.mapFile(memory, AT, 8 * PAGE, file, 0);
    expect(native.mappedLength(handle)).toBe(3 * PAGE);
    expect(memory.subarray(AT, AT + content.length)).toEqual(content);
    expect(memory.subarray(AT + content.length, AT + 3 * PAGE).every((byte) => byte === 0)).toBe(true);
    expect(memory.subarray(AT + 3 * PAGE, AT + 8 * PAGE).every((byte) => byte === 0xaa)).toBe(true);
    expect(memory.subarray(AT - PAGE, AT).every((byte) => byte === 0xaa)).toBe(true);
    native.unmapFile(handle);
  });

  it('may lie over memory that is not shared', () => {
    const native = addon();
    const { file, content } = fileOf(2 * PAGE);
    const memory = new Uint8Array(new WebAssembly.Memory({ initial: 4 }).buffer);
    const handle = native.mapFile(memory, AT, 2 * PAGE, file, 0);
    expect(memory.subarray(AT, AT + 2 * PAGE)).toEqual(content);
    native.unmapFile(handle);
  });

  it('is seen by WASM', () => {
    const native = addon();
    const { file, content } = fileOf(2 * PAGE);
    const memory = sharedMemory();
    const handle = native.mapFile(new Uint8Array(memory.buffer), AT, 2 * PAGE, file, 0);
    const wasm = loadsAndStores(memory);
    expect(wasm.load(AT + PAGE + 3)).toBe(content[PAGE + 3]);
    wasm.store(AT, 99);
    expect(new Uint8Array(memory.buffer)[AT]).toBe(99);
    native.unmapFile(handle);
  });

  it('of a descriptor outlives the descriptor', () => {
    const native = addon();
    const { file, content } = fileOf(2 * PAGE);
    const memory = view();
    const fd = openSync(file, 'r');
    const handle = native.mapFile(memory, AT, 2 * PAGE, fd, 0);
    closeSync(fd);
    expect(memory.subarray(AT, AT + 2 * PAGE)).toEqual(content);
    native.unmapFile(handle);
  });
});

describe('a shared mapping', () => {
  it('is the file: stores and writes are seen both ways at once', () => {
    const native = addon();
    const { file } = fileOf(3 * PAGE);
    const memory = view();
    const handle = native.mapFile(memory, AT, 3 * PAGE, file, 0, { shared: true });
    memory[AT + 2 * PAGE + 5] = 200;
    expect(readFileSync(file)[2 * PAGE + 5]).toBe(200);
    const fd = openSync(file, 'r+');
    writeSync(fd, Uint8Array.of(123), 0, 1, PAGE);
    closeSync(fd);
    expect(memory[AT + PAGE]).toBe(123);
    native.syncFile(handle, 0, 3 * PAGE);
    native.flush(memory, AT, 3 * PAGE);
    native.unmapFile(handle);
    expect(readFileSync(file)[2 * PAGE + 5]).toBe(200);
  });

  it('of one file at two places is one', () => {
    const native = addon();
    const { file } = fileOf(PAGE);
    const memory = view();
    const one = native.mapFile(memory, AT, PAGE, file, 0, { shared: true });
    const two = native.mapFile(memory, 2 * AT, PAGE, file, 0, { shared: true });
    memory[AT + 9] = 77;
    expect(memory[2 * AT + 9]).toBe(77);
    native.unmapFile(one);
    native.unmapFile(two);
  });

  it('survives the death of the process without a sync', () => {
    const { file } = fileOf(PAGE);
    const child = runProgram(`
      const { native } = loadNative({ env: {} });
      const memory = new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer);
      native.mapFile(memory, 65536, 4096, process.argv[1], 0, { shared: true });
      memory[65536] = 211;
      process.kill(process.pid, 'SIGKILL');`, [file]);
    expect(child.signal).toBe('SIGKILL');
    expect(readFileSync(file)[0]).toBe(211);
  });
});

describe('release', () => {
  it('leaves zeroes that can be read and written, from JavaScript and WASM', () => {
    const native = addon();
    const { file } = fileOf(4 * PAGE);
    const memory = sharedMemory();
    const bytes = new Uint8Array(memory.buffer);
    native.unmapFile(native.mapFile(bytes, AT, 4 * PAGE, file, 0));
    expect(bytes.subarray(AT, AT + 4 * PAGE).every((byte) => byte === 0)).toBe(true);
    bytes.fill(5, AT, AT + 4 * PAGE);
    const wasm = loadsAndStores(memory);
    wasm.store(AT + PAGE, 6);
    expect([wasm.load(AT), wasm.load(AT + PAGE)]).toEqual([5, 6]);
  });

  it('lets the same place be mapped again, 300 times', () => {
    const native = addon();
    const { file, content } = fileOf(PAGE);
    const memory = view();
    for (let round = 0; round < 300; round++) {
      const handle = native.mapFile(memory, AT, PAGE, file, 0);
      expect(memory[AT + 17]).toBe(content[17]);
      native.unmapFile(handle);
      expect(memory[AT + 17]).toBe(0);
    }
  });

  it('happens at the end of the Worker that mapped', () => {
    const { file } = fileOf(PAGE);
    const child = runProgram(`
      const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
      const bytes = new Uint8Array(memory.buffer);
      const { worker } = await inWorker(\`
        import(workerData.loader).then(({ loadNative }) => {
          loadNative({ env: {} }).native.mapFile(new Uint8Array(workerData.memory.buffer), 65536, 4096, workerData.file, 0);
          parentPort.on("message", () => {}); // stays until it is ended
          parentPort.postMessage(0);
        });\`, { memory, file: process.argv[1] });
      const mapped = bytes[65536 + 1];
      await worker.terminate();
      bytes[65536 + 2] = 9;
      console.log(JSON.stringify([mapped, bytes[65536 + 1], bytes[65536 + 2], fs.readFileSync('/proc/self/maps', 'utf8').includes(process.argv[1])]));`, [file]);
    expect(child.stderr).toBe('');
    expect(JSON.parse(child.stdout)).toEqual([7, 0, 9, false]);
  });

  it('waits for unmapFile, even when nobody holds the memory any more', () => {
    const { file } = fileOf(PAGE);
    const child = runProgram(`
      const { native } = loadNative({ env: {} });
      const isMapped = () => fs.readFileSync('/proc/self/maps', 'utf8').includes(process.argv[1]);
      const handle = (() => native.mapFile(new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer), 65536, 4096, process.argv[1], 0))();
      for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
      const kept = isMapped();
      native.unmapFile(handle);
      console.log(JSON.stringify([kept, isMapped()]));`, [file], ['--expose-gc']);
    expect(JSON.parse(child.stdout)).toEqual([true, false]);
  });
});

describe('a mapping that cannot be', () => {
  const cases: [string, string, (memory: Uint8Array, file: string) => unknown][] = [
    ['a missing file', 'ENOENT', (memory) => addon().mapFile(memory, AT, PAGE, path.join(folder, 'none'), 0)],
    ['a directory', 'EISDIR', (memory) => addon().mapFile(memory, AT, PAGE, folder, 0)],
    ['a directory, shared', 'EISDIR', (memory) => addon().mapFile(memory, AT, PAGE, folder, 0, { shared: true })],
    ['a device', 'ENODEV', (memory) => addon().mapFile(memory, AT, PAGE, '/dev/zero', 0)],
    ['an empty file', 'EINVAL', (memory) => addon().mapFile(memory, AT, PAGE, fileOf(0).file, 0)],
    ['a read-only descriptor, shared', 'EACCES', (memory, file) => withDescriptor(file, 'r', (fd) => addon().mapFile(memory, AT, PAGE, fd, 0, { shared: true }))],
    ['a write-only descriptor', 'EACCES', (memory, file) => withDescriptor(file, 'a', (fd) => addon().mapFile(memory, AT, PAGE, fd, 0))],
    ['a closed descriptor', 'EBADF', (memory) => addon().mapFile(memory, AT, PAGE, 999_999, 0)],
    ['an unaligned offset', 'EINVAL', (memory, file) => addon().mapFile(memory, AT + 512, PAGE, file, 0)],
    ['an unaligned fileOffset', 'EINVAL', (memory, file) => addon().mapFile(memory, AT, PAGE, file, 100)],
    ['a view that begins inside a page', 'EINVAL', (memory, file) => addon().mapFile(memory.subarray(8), AT, PAGE, file, 0)],
    ['a fileOffset past the end', 'EINVAL', (memory, file) => addon().mapFile(memory, AT, PAGE, file, 2 * PAGE)],
    ['a length of 0', 'EINVAL', (memory, file) => addon().mapFile(memory, AT, 0, file, 0)],
    ['a range past the memory', 'EINVAL', (memory, file) => addon().mapFile(memory, memory.length - PAGE, PAGE + 1, file, 0)],
    ['an offset past the memory', 'EINVAL', (memory, file) => addon().mapFile(memory, 2 ** 40, PAGE, file, 0)],
    ['a negative offset', 'RangeError', (memory, file) => addon().mapFile(memory, -PAGE, PAGE, file, 0)],
    ['a broken offset', 'RangeError', (memory, file) => addon().mapFile(memory, 0.5, PAGE, file, 0)],
    ['a length of NaN', 'RangeError', (memory, file) => addon().mapFile(memory, AT, Number.NaN, file, 0)],
    ['a length that is no number', 'TypeError', (memory, file) => addon().mapFile(memory, AT, '4096' as unknown as number, file, 0)],
    ['a file that is neither', 'TypeError', (memory) => addon().mapFile(memory, AT, PAGE, null as unknown as string, 0)],
    ['a path with a null byte', 'TypeError', (memory, file) => addon().mapFile(memory, AT, PAGE, `${file}\0x`, 0)],
    ['memory that is no Uint8Array', 'TypeError', (memory, file) => addon().mapFile(new DataView(memory.buffer) as unknown as Uint8Array, AT, PAGE, file, 0)],
    ['an unknown option', 'TypeError', (memory, file) => addon().mapFile(memory, AT, PAGE, file, 0, { share: true } as object)],
  ];
  for (const [name, code, call] of cases) {
    it(`${name}: ${code}, and the memory is as it was`, () => {
      const memory = view();
      memory.fill(0x5a);
      const { file } = fileOf(PAGE);
      expect(codeOf(() => call(memory, file))).toBe(code);
      expect(memory.every((byte) => byte === 0x5a)).toBe(true);
    });
  }

  it('over another: EBUSY, and the first stays', () => {
    const native = addon();
    const { file, content } = fileOf(4 * PAGE);
    const memory = view();
    const handle = native.mapFile(memory, AT, 4 * PAGE, file, 0);
    expect(codeOf(() => native.mapFile(memory, AT + 3 * PAGE, 2 * PAGE, file, 0))).toBe('EBUSY');
    expect(memory.subarray(AT, AT + 4 * PAGE)).toEqual(content);
    native.unmapFile(native.mapFile(memory, AT + 4 * PAGE, PAGE, file, 0));
    native.unmapFile(handle);
  });

  it('beside 256 others: ENOMEM, until one of them goes', () => {
    const native = addon();
    const { file } = fileOf(PAGE);
    const memory = view();
    const handles = Array.from({ length: 256 }, (_, i) => native.mapFile(memory, i * PAGE, PAGE, file, 0));
    expect(codeOf(() => native.mapFile(memory, 300 * PAGE, PAGE, file, 0))).toBe('ENOMEM');
    native.unmapFile(handles.pop()!);
    handles.push(native.mapFile(memory, 300 * PAGE, PAGE, file, 0));
    for (const handle of handles) native.unmapFile(handle);
  });

  it('of a file that this user may not write, shared: EACCES before anything is mapped', () => {
    const { file } = fileOf(PAGE);
    const child = runProgram(`
      const { native } = loadNative({ env: {} });
      fs.chmodSync(process.argv[1], 0o444);
      fs.chmodSync(process.argv[2], 0o755);
      if (process.getuid() === 0) process.setuid(65534);
      const memory = new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer);
      try { native.mapFile(memory, 65536, 4096, process.argv[1], 0, { shared: true }); } catch (error) { console.log(error.code); }
      native.mapFile(memory, 65536, 4096, process.argv[1], 0);
      console.log(memory[65537]);`, [file, folder]);
    expect(child.stdout).toBe('EACCES\n7\n');
  });

  it('names call, place and errno in one line', () => {
    expect(() => addon().mapFile(view(), AT, PAGE, '/no/such/file', 0)).toThrow(/^mapFile: cannot open \/no\/such\/file \(ENOENT\)$/);
    expect(() => addon().mapFile(view(), AT + 1, PAGE, '/no/such/file', 0)).toThrow(/^mapFile: offset 0x10001 is not page aligned \(EINVAL\)$/);
    expect(() => addon().mapFile(view(), AT, PAGE, path.join(fileOf(1).file, 'below'), 0)).toThrow(/ENOTDIR/);
  });
});

describe('a handle', () => {
  it('answers EBADF once it is used up, or was never given', () => {
    const native = addon();
    const { file } = fileOf(PAGE);
    const handle = native.mapFile(view(), AT, PAGE, file, 0);
    native.unmapFile(handle);
    for (const wrong of [handle, 0, 2 ** 40]) {
      expect(codeOf(() => native.unmapFile(wrong))).toBe('EBADF');
      expect(codeOf(() => native.syncFile(wrong, 0, PAGE))).toBe('EBADF');
      expect(codeOf(() => native.poisoned(wrong))).toBe('EBADF');
      expect(codeOf(() => native.mappedLength(wrong))).toBe('EBADF');
    }
  });

  it('syncs only what is shared, aligned and inside: else EINVAL', () => {
    const native = addon();
    const { file } = fileOf(2 * PAGE);
    const memory = view();
    const mine = native.mapFile(memory, AT, 2 * PAGE, file, 0);
    const ours = native.mapFile(memory, 2 * AT, 2 * PAGE, file, 0, { shared: true });
    expect(codeOf(() => native.syncFile(mine, 0, PAGE))).toBe('EINVAL');
    expect(codeOf(() => native.syncFile(ours, 1, PAGE))).toBe('EINVAL');
    expect(codeOf(() => native.syncFile(ours, PAGE, PAGE + 1))).toBe('EINVAL');
    expect(codeOf(() => native.syncFile(ours, 3 * PAGE, 0))).toBe('EINVAL');
    native.syncFile(ours, PAGE, PAGE);
    native.unmapFile(mine);
    native.unmapFile(ours);
  });
});

function withDescriptor<T>(file: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(file, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
