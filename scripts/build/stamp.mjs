/**
 * Stamps: what a part of the build was made from and what it made, as `dist/.build/NAME.json`.
 *
 * A part is current when the hash of its inputs' contents is the stamp's and every output stands there with its size.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, rmdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Files below `folder` whose names match, sorted, as absolute paths; none where there is no folder. */
export function filesUnder(folder, pattern, except = []) {
  let entries;
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  const files = [];
  for (const entry of entries) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules' && !except.includes(entry.name)) files.push(...filesUnder(full, pattern));
    } else if (pattern.test(entry.name)) files.push(full);
  }
  return files.sort();
}

/** One hash over the names (from `root`) and contents of `files`, and over `extra` strings. */
export function hashInputs(root, files, extra) {
  const hash = createHash('sha256');
  for (const text of extra) hash.update(`${text}\0`);
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${path.relative(root, file).split(path.sep).join('/')}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** The stamp, or null where there is none or it cannot be read as one. */
export function readStamp(folder, name) {
  try {
    const stamp = JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8'));
    return typeof stamp.inputs === 'string' && Array.isArray(stamp.outputs) ? stamp : null;
  } catch {
    return null;
  }
}

export function writeStamp(folder, name, inputs, outputs) {
  const file = path.join(folder, `${name}.json`);
  writeFileSync(`${file}.${process.pid}`, `${JSON.stringify({ inputs, outputs })}\n`);
  renameSync(`${file}.${process.pid}`, file);
}

export function removeStamp(folder, name) {
  rmSync(path.join(folder, `${name}.json`), { force: true });
}

/** Whether `stamp` says that `target` holds what these inputs make. */
export function isCurrent(stamp, inputs, target) {
  if (stamp === null || stamp.inputs !== inputs) return false;
  return stamp.outputs.every((output) => {
    const stat = statSync(path.join(target, output.path), { throwIfNoEntry: false });
    return stat !== undefined && stat.size === output.length && (stat.mode & 0o111) === output.exec;
  });
}

/**
 * Moves every file below `from` to the same place below `to`, each by one rename; a file that would not change stays as it is.
 * Returns the outputs as a stamp lists them.
 */
export function moveOutputs(from, to) {
  return filesUnder(from, /./).map((file) => {
    const relative = path.relative(from, file);
    const destination = path.join(to, relative);
    const stat = statSync(file);
    if (!sameFile(file, stat, destination)) {
      mkdirSync(path.dirname(destination), { recursive: true });
      move(file, destination);
    }
    return { path: relative, length: stat.size, exec: stat.mode & 0o111 };
  });
}

function sameFile(file, stat, other) {
  const there = statSync(other, { throwIfNoEntry: false });
  return there !== undefined && there.size === stat.size && there.mode === stat.mode && readFileSync(file).equals(readFileSync(other));
}

/** rename, also where dist is laid over two file systems. */
function move(file, destination) {
  try {
    renameSync(file, destination);
  } catch (error) {
    if (error.code !== 'EXDEV') throw error;
    copyFileSync(file, `${destination}.${process.pid}`);
    renameSync(`${destination}.${process.pid}`, destination);
    unlinkSync(file);
  }
}

/** Removes what matches `stale.pattern` in its folder and is not among `outputs` (absolute paths); then folders left empty. */
export function sweep(stale, outputs) {
  for (const file of filesUnder(stale.in, stale.pattern, stale.except)) {
    if (outputs.has(file)) continue;
    rmSync(file, { force: true });
    for (let folder = path.dirname(file); folder !== stale.in && folder.startsWith(stale.in); folder = path.dirname(folder)) {
      if (readdirSync(folder).length > 0) break;
      rmdirSync(folder);
    }
  }
}
