/**
 * A lock file, so that two builds of one checkout do not meet: made with O_EXCL, holds its owner's process id.
 *
 * A lock is stale when its owner is gone, or after AGE_MS_MAX whoever owns it (a reused id, another machine). A stale lock is
 * taken away by a rename, which only one waiter can win; one that turns out to be another's fresh lock is put back.
 */
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';

const POLL_MS = 100;
const AGE_MS_MAX = 5 * 60_000;

/** Runs `work` with the lock held; releases it however `work` or the process ends. */
export async function withLock(file, work) {
  const mine = `${process.pid}\n`;
  while (!take(file, mine)) {
    if (isStale(file)) stealFrom(file);
    else await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const release = () => {
    if (read(file) === mine) rmSync(file, { force: true });
  };
  const stop = () => process.exit(130);
  process.once('exit', release).once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await work();
  } finally {
    release();
    process.off('exit', release).off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function take(file, mine) {
  try {
    writeFileSync(file, mine, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}

function isStale(file) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return false; // released just now
  const age_ms = Date.now() - stat.mtimeMs;
  if (age_ms > AGE_MS_MAX) return true;
  const owner = Number.parseInt(read(file) ?? '', 10);
  if (!(owner > 0)) return age_ms > 1000; // made, and not yet written
  return !isAlive(owner);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function stealFrom(file) {
  const stale = read(file);
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  if (read(aside) !== stale) {
    try {
      linkSync(aside, file);
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
  }
  rmSync(aside, { force: true });
}
