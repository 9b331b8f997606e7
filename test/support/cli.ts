/** The command line as users run it: dist/cli/main.js in a process of its own, and files to run it on. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import type { MirrorReport } from '../../dist/cli/mirror/data.js';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const MAIN = path.join(ROOT, 'dist', 'cli', 'main.js');

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** set on top of this process's own; undefined takes a variable away */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly main?: string;
  readonly cwd?: string;
}

/** This process's environment without what would change how the CLI prints. */
function environment(changes: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _colour, NODE_OPTIONS: _options, ...env } = process.env;
  return { ...env, ...changes };
}

export function daxmirror(args: readonly string[], { env, main = MAIN, cwd = ROOT }: RunOptions = {}): Outcome {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [main, ...args], { cwd, env: environment(env), encoding: 'utf8', timeout: 110_000, maxBuffer: 2 ** 26 });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

/** `daxmirror mirror … --json`: its report, with the exit code that came with it. */
export function mirrorReport(args: readonly string[], options: RunOptions = {}): { code: number | null; report: MirrorReport } {
  const { code, stdout, stderr } = daxmirror(['mirror', '--json', ...args], options);
  if (stderr !== '' || stdout === '') throw new Error(`daxmirror mirror ${args.join(' ')} ended with ${code}: ${stderr}`);
  return { code, report: JSON.parse(stdout) as MirrorReport };
}

/** The same, running: to be interfered with. */
export function start(args: readonly string[], { env }: RunOptions = {}): { child: ChildProcess; ended: Promise<Outcome & { signal: NodeJS.Signals | null }> } {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: ROOT, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Outcome & { signal: NodeJS.Signals | null }>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })));
  return { child, ended };
}

/** Has the process opened the file? Null where this system does not tell. */
export function hasOpen(pid: number, file: string): boolean | null {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return readlinkSync(path.join(folder, fd)) === file;
      } catch {
        return false;
      }
    });
  } catch {
    return null;
  }
}

/** A folder that is gone after the file's tests. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'daxmirror-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A file of random bytes. */
export function randomFile(file: string, bytes: number): string {
  writeFileSync(file, randomFillSync(new Uint8Array(bytes)));
  return file;
}

/** A file of holes with 4 KiB of random bytes at the start of every `every` bytes and at the very end. */
export function sparseFile(file: string, bytes: number, every: number): string {
  const fd = openSync(file, 'w');
  try {
    ftruncateSync(fd, bytes);
    const page = new Uint8Array(4096);
    for (let at = 0; at < bytes; at += every) writeSync(fd, randomFillSync(page), 0, Math.min(page.length, bytes - at), at);
    writeSync(fd, randomFillSync(page), 0, page.length, bytes - page.length);
  } finally {
    closeSync(fd);
  }
  return file;
}

/** What a file is known again by. */
export function fingerprint(file: string): { sha256: string; bytes: number; mtimeNs: bigint } {
  const { size, mtimeNs } = statSync(file, { bigint: true });
  return { sha256: createHash('sha256').update(readFileSync(file)).digest('hex'), bytes: Number(size), mtimeNs };
}
