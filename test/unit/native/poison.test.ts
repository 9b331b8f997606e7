/** A backing file that shrinks under its mapping: zeroes and a list instead of a dead process, and SIGBUS left alone otherwise. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { PAGE, answerOf, runProgram, temporaryFolder, withAddon } from './addon.ts';

const { describe, it } = withAddon(import.meta.url);
const folder = temporaryFolder();
let made = 0;

function fileOfPages(npages: number): string {
  const file = path.join(folder, `file${made++}`);
  writeFileSync(file, new Uint8Array(npages * PAGE).fill(7));
  return file;
}

/** Maps the file of argv[1] at 64 KiB; `bytes` and `wasm` see it. In a process of its own: what is tested is whether it lives. */
const MAPPED = `
  const { native } = loadNative({ env: {} });
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  const bytes = new Uint8Array(memory.buffer);
  const wasm = new WebAssembly.Instance(new WebAssembly.Module(LOADS), { env: { memory } }).exports;
  const map = (options) => native.mapFile(bytes, 65536, fs.statSync(process.argv[1]).size, process.argv[1], 0, options);
  const page = (n) => 65536 + n * 4096;
  const answer = (value) => console.log(JSON.stringify(value));
`;

describe('a file cut from eight pages to one', () => {
  for (const shared of [false, true]) {
    const kind = shared ? 'shared' : 'private';
    it(`reads zero from JavaScript past its end and lists the page (${kind})`, () => {
      const answer = answerOf(`${MAPPED}
        const handle = map({ shared: ${shared} });
        const before = [bytes[page(0)], bytes[page(5)], native.poisoned(handle)];
        fs.truncateSync(process.argv[1], 4096);
        answer([...before, bytes[page(5) + 100], bytes[page(0)], native.poisoned(handle)]);`, [fileOfPages(8)]);
      expect(answer).toEqual([7, 7, [], 0, 7, [5]]);
    });

    it(`takes loads and stores of WASM past its end (${kind})`, () => {
      const answer = answerOf(`${MAPPED}
        const handle = map({ shared: ${shared} });
        fs.truncateSync(process.argv[1], 4096);
        const read = wasm.load(page(5));
        wasm.store(page(6) + 1, 88);
        answer([read, wasm.load(page(6) + 1), bytes[page(6)], native.poisoned(handle), fs.statSync(process.argv[1]).size]);`, [fileOfPages(8)]);
      expect(answer).toEqual([0, 88, 0, [5, 6], 4096]);
    });
  }

  it('lists pages in order, each once, up to the last of 200', () => {
    const answer = answerOf(`${MAPPED}
      const handle = map();
      fs.truncateSync(process.argv[1], 4096);
      for (const n of [199, 64, 63, 199, 1, 128]) wasm.load(page(n));
      answer(native.poisoned(handle));`, [fileOfPages(200)]);
    expect(answer).toEqual([1, 63, 64, 128, 199]);
  });

  it('keeps the answer of a page that was touched when the file grows again', () => {
    const answer = answerOf(`${MAPPED}
      const handle = map({ shared: true });
      fs.truncateSync(process.argv[1], 4096);
      bytes[page(5)] = 3;
      fs.truncateSync(process.argv[1], 8 * 4096);
      answer([bytes[page(5)], bytes[page(6)], native.poisoned(handle), fs.readFileSync(process.argv[1])[5 * 4096]]);`, [fileOfPages(8)]);
    expect(answer).toEqual([3, 0, [5], 0]);
  });

  it('is told apart from another mapping, and forgotten with its own', () => {
    const answer = answerOf(`${MAPPED}
      const one = map(), two = native.mapFile(bytes, 2 * 65536, 8 * 4096, process.argv[1], 0);
      fs.truncateSync(process.argv[1], 4096);
      wasm.load(2 * 65536 + 2 * 4096);
      const lists = [native.poisoned(one), native.poisoned(two)];
      native.unmapFile(two);
      const three = native.mapFile(bytes, 2 * 65536, 8 * 4096, process.argv[1], 0);
      answer([...lists, native.poisoned(three)]);`, [fileOfPages(8)]);
    expect(answer).toEqual([[], [2], []]);
  });

  it('is survived by threads that touch it at once', () => {
    const answer = answerOf(`${MAPPED}
      const handle = map();
      fs.truncateSync(process.argv[1], 4096);
      const text = \`
        const wasm = new WebAssembly.Instance(workerData.module, { env: { memory: workerData.memory } }).exports;
        let sum = 0;
        for (let n = workerData.from; n < 512; n += 2) sum += wasm.load(65536 + n * 4096);
        for (let n = 1; n < 512; n++) sum += wasm.load(65536 + n * 4096);
        parentPort.postMessage(sum);\`;
      const module = new WebAssembly.Module(LOADS);
      const sums = (await Promise.all([1, 2].map((from) => inWorker(text, { memory, module, from })))).map(({ message }) => message);
      answer([sums, native.poisoned(handle).length]);`, [fileOfPages(512)]);
    expect(answer).toEqual([[0, 0], 511]);
  });
});

describe('with the guard in place', () => {
  it('a WASM access outside the memory is still a RuntimeError', () => {
    const answer = answerOf(`${MAPPED}
      const handle = map();
      fs.truncateSync(process.argv[1], 4096);
      const caught = [];
      for (const at of [64 * 65536, -1]) { try { wasm.load(at); } catch (error) { caught.push(error instanceof WebAssembly.RuntimeError); } }
      answer([caught, wasm.load(page(3)), native.poisoned(handle)]);`, [fileOfPages(8)]);
    expect(answer).toEqual([[true, true], 0, [3]]);
  });

  it('a SIGBUS that was sent still ends the process', () => {
    const child = runProgram(`${MAPPED} map(); process.kill(process.pid, 'SIGBUS'); setTimeout(() => console.log('alive'), 2000);`, [fileOfPages(1)]);
    expect([child.signal, child.stdout]).toEqual(['SIGBUS', '']);
  });

  it("a handler that was there before gets the SIGBUS that is not the mapping's", () => {
    const child = runProgram(`
      let seen = 0;
      process.on('SIGBUS', () => { seen++; });
      ${MAPPED}
      const handle = map();
      fs.truncateSync(process.argv[1], 4096);
      wasm.load(page(2));
      process.kill(process.pid, 'SIGBUS');
      setTimeout(() => { answer([seen, native.poisoned(handle)]); process.exit(); }, 100);`, [fileOfPages(8)]);
    expect([child.signal, child.stdout]).toEqual([null, '[1,[2]]\n']);
  });

  it('the guard outlives the Worker that alone had loaded the addon', () => {
    const child = runProgram(`
      const { worker } = await inWorker(\`
        import(workerData.loader).then(({ loadNative }) => {
          const memory = new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true }).buffer);
          loadNative({ env: {} }).native.mapFile(memory, 65536, 4096, workerData.file, 0);
          parentPort.on("message", () => {}); // stays until it is ended
          parentPort.postMessage(0);
        });\`, { file: process.argv[1] });
      await worker.terminate();
      process.kill(process.pid, 'SIGBUS');
      setTimeout(() => console.log('alive'), 2000);`, [fileOfPages(1)]);
    expect([child.signal, child.stdout]).toEqual(['SIGBUS', '']);
  });
});
