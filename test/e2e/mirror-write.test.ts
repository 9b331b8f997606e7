/**
 * Real files that somebody writes: --write, which does so itself and puts everything back, and files that change while they are mirrored.
 * Below the CLI, the facade's promise: truncate and punch never reach a real file.
 */
import { closeSync, openSync, readFileSync, readSync, truncateSync, writeSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { HmmError, KiB, MiB, createMachine, createMirror, type DaxFile, type Machine, type Mirror } from '../../dist/index.js';
import { detectToolchain } from '../../scripts/build-native.mjs';
import { daxmirror, fingerprint, hasOpen, mirrorReport, randomFile, start, temporaryFolder } from '../support/cli.ts';
import { needs } from '../support/skips.ts';

const withAddon = needs('no compiler', detectToolchain().reason === null, import.meta.url);
/** With the addon, also in the pass that leaves it out elsewhere. */
const ADDON = { DAXMIRROR_NATIVE: undefined };
const folder = temporaryFolder();
let made = 0;
const newFile = (bytes: number): string => randomFile(path.join(folder, `file${made++}`), bytes);

async function until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  for (const end = performance.now() + timeoutMs; performance.now() < end; await setTimeout(1)) if (condition()) return true;
  return false;
}

withAddon.describe('--write', () => {
  it.each([1, 9, 4096, 4097, 2 ** 21 + 1, 9_000_001])('writes to a file of %i bytes, sees it there, and leaves it with the bytes it had', (bytes) => {
    const file = newFile(bytes);
    const before = fingerprint(file);
    const { code, report } = mirrorReport([file, '--write'], { env: ADDON });
    expect({ code, passed: report.passed, access: report.file.access }).toEqual({ code: 0, passed: true, access: 'mapped shared' });
    const after = fingerprint(file);
    expect([after.sha256, after.bytes]).toEqual([before.sha256, bytes]);
    expect(after.mtimeNs).toBeGreaterThan(before.mtimeNs);
  });

  it('puts everything back when it is interrupted between writing and putting back', { timeout: 60_000 }, async () => {
    const file = newFile(60 * MiB);
    const before = fingerprint(file);
    const fd = openSync(file, 'r');
    const now = new Uint8Array(16);
    readSync(fd, now, 0, 16, 0);
    const first = Buffer.from(now);
    const { child, ended } = start(['mirror', file, '--write', '--page', '4K'], { env: ADDON });
    const isWritten = await until(() => readSync(fd, now, 0, 16, 0) === 16 && first.compare(now) !== 0, 20_000);
    child.kill('SIGINT');
    closeSync(fd);
    expect(await ended).toMatchObject({ code: 130, stdout: '', stderr: expect.stringMatching(/^daxmirror: interrupted at 4K \w+, step [\w-]+\n$/) as string });
    expect(isWritten).toBe(true);
    expect(fingerprint(file).sha256).toBe(before.sha256);
  });
});

describe('a file that shrinks while it is mirrored', () => {
  it.each([['with the addon', ADDON], ['without it', { DAXMIRROR_NATIVE: 'off' }]])('%s: is said in one line, exit code 2', { timeout: 60_000 }, async (_name, env) => {
    const file = newFile(120 * MiB);
    const { child, ended } = start(['mirror', file], { env });
    const isOpen = await until(() => hasOpen(child.pid ?? 0, file) !== false, 20_000);
    if (hasOpen(child.pid ?? 0, file) === null) await setTimeout(500);
    truncateSync(file, 5 * MiB);
    expect(isOpen).toBe(true);
    const outcome = await ended;
    expect(outcome).toMatchObject({ code: 2, signal: null, stdout: '' });
    expect(outcome.stderr).toMatch(/^daxmirror: .*(?:shrank from|went from) [^\n]*\n$/);
  });
});

describe('a file that is written while it is mirrored', () => {
  it('is said in place of a verdict, where a check failed of it', { timeout: 60_000 }, async () => {
    const file = newFile(120 * MiB);
    const { child, ended } = start(['mirror', file]);
    await until(() => hasOpen(child.pid ?? 0, file) !== false, 20_000);
    for (let i = 0; i < 2000 && child.exitCode === null; i++) {
      writeAt(file, 100 * MiB, Uint8Array.of(i));
      await setTimeout(2);
    }
    const outcome = await ended;
    expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: `daxmirror: ${file} was written while it was mirrored\n` });
  });
});

function writeAt(file: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

describe('the facade on a real file', () => {
  const LENGTH = 300 * KiB + 5;

  /** The file, as a device and a process see it. */
  async function opened(file: string, shared: boolean): Promise<{ machine: Machine; sim: DaxFile; mirror: Mirror; at: bigint }> {
    const machine = await createMachine({ arena: 64 * MiB });
    const sim = machine.pmem({ size: 64 * MiB }).hostFile('file', { path: file, length: LENGTH, shared, readInto: (target) => target.set(readFileSync(file)) });
    const mm = machine.mm();
    const map = mm.mmap(sim, { length: LENGTH });
    return { machine, sim, mirror: createMirror(mm), at: map.start };
  }

  it('private: what a device writes stays in the simulation', async () => {
    const file = newFile(LENGTH);
    const before = fingerprint(file);
    const { machine, sim, mirror, at } = await opened(file, false);
    mirror.write(at + 5000n, Uint8Array.of(1, 2, 3));
    expect(sim.read(5000, 3)).toEqual(Uint8Array.of(1, 2, 3));
    machine.dispose();
    expect(fingerprint(file)).toEqual(before);
  });

  it('closing and opening again finds the same bytes', async () => {
    const file = newFile(LENGTH);
    const machine = await createMachine({ arena: 64 * MiB });
    const pmem = machine.pmem({ size: 64 * MiB });
    pmem.hostFile('file', { path: file, length: LENGTH, readInto: (target) => target.set(readFileSync(file)) }).close();
    expect(Buffer.compare(pmem.open('file').read(0, LENGTH), readFileSync(file))).toBe(0);
    machine.dispose();
  });

  it('without the addon a shared one is refused, and nothing is left of it', async () => {
    const machine = await createMachine({ arena: 64 * MiB, native: 'off' });
    const pmem = machine.pmem({ size: 64 * MiB });
    const freeBytes = pmem.freeBytes;
    expect(() => pmem.hostFile('file', { path: 'any', length: 4096, shared: true, readInto: () => {} })).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }) as HmmError);
    expect(pmem.freeBytes).toBe(freeBytes);
    expect(() => pmem.open('file')).toThrow(expect.objectContaining({ code: 'ENOENT' }) as HmmError);
    machine.dispose();
  });

  if (process.env['DAXMIRROR_NATIVE'] !== 'off') {
    withAddon.describe('shared', () => {
      it('what a device writes is in the real file', async () => {
        const file = newFile(LENGTH);
        const { machine, sim, mirror, at } = await opened(file, true);
        mirror.write(at + 5000n, Uint8Array.of(1, 2, 3));
        expect([...readFileSync(file).subarray(5000, 5003)]).toEqual([1, 2, 3]);
        sim.fsync();
        machine.dispose();
        expect([...readFileSync(file).subarray(5000, 5003)]).toEqual([1, 2, 3]);
      });

      const takers: readonly [string, (sim: DaxFile) => void][] = [
        ['truncate', (sim) => sim.truncate(1000)],
        ['truncate to nothing', (sim) => sim.truncate(0)],
        ['punch of whole pages', (sim) => sim.punch(8192, 65_536)],
        ['punch inside a page', (sim) => sim.punch(100, 200)],
        ['truncate and growing into it again', (sim) => (sim.truncate(1000), sim.write(0, new Uint8Array(LENGTH)))],
      ];
      it.each(takers)('%s works on the simulated file alone', async (_name, take) => {
        const file = newFile(LENGTH);
        const before = fingerprint(file);
        const { machine, sim } = await opened(file, true);
        take(sim);
        machine.reset();
        expect(fingerprint(file).sha256).toBe(before.sha256);
      });

      it('so does another handle on it', async () => {
        const file = newFile(LENGTH);
        const before = fingerprint(file);
        const machine = await createMachine({ arena: 64 * MiB });
        const pmem = machine.pmem({ size: 64 * MiB });
        pmem.hostFile('file', { path: file, length: LENGTH, shared: true, readInto: () => {} }).close();
        pmem.open('file').punch(0, 65_536);
        machine.dispose();
        expect(fingerprint(file).sha256).toBe(before.sha256);
      });

      it('after that its other bytes are still the file’s, and stores no longer reach it', async () => {
        const file = newFile(LENGTH);
        const before = fingerprint(file);
        const { machine, sim, mirror, at } = await opened(file, true);
        sim.punch(0, 4096);
        expect(Buffer.compare(sim.read(4096, LENGTH - 4096), readFileSync(file).subarray(4096))).toBe(0);
        mirror.write(at + 5000n, Uint8Array.of(1, 2, 3));
        machine.dispose();
        expect(fingerprint(file).sha256).toBe(before.sha256);
      });

      it('deleting it frees its blocks for others without touching the real file', async () => {
        const file = newFile(LENGTH);
        const before = fingerprint(file);
        const machine = await createMachine({ arena: 64 * MiB });
        const pmem = machine.pmem({ size: 16 * MiB });
        const sim = pmem.hostFile('file', { path: file, length: LENGTH, shared: true, readInto: () => {} });
        sim.unlink();
        sim.close();
        pmem.file('next', { size: pmem.freeBytes }).write(0, new Uint8Array(pmem.size / 2).fill(0xee));
        machine.dispose();
        expect(fingerprint(file).sha256).toBe(before.sha256);
      });
    });
  }
});

describe('daxmirror mirror --write of what cannot be written', () => {
  withAddon.it('a program that is running', () => {
    const outcome = daxmirror(['mirror', process.execPath, '--write'], { env: ADDON });
    expect(outcome).toMatchObject({ code: 2, stdout: '' });
    expect(outcome.stderr).toMatch(/^daxmirror: cannot open for writing .*: (?:text file is busy|permission denied)\n$/);
  });
});
