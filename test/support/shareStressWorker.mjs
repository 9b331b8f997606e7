/* oxlint-disable unicorn/require-post-message-target-origin -- a MessagePort has none */
// A reader of the stress (shareStress.ts): every answer of an attached table is held against the owner's shadow.
import { parentPort, workerData } from 'node:worker_threads';
import { attach, HmmError } from '../../dist/index.js';
import { Random } from '../../dist/sched/index.js';

const { handle, shadow, pages, history, places, seed } = workerData;
const control = new Int32Array(shadow, 0, 16);
const versions = new Int32Array(shadow, 64, pages);
const tags = new Uint32Array(shadow, 64 + pages * 4, pages * history);
const frames = new Float64Array(shadow, 64 + pages * (4 + 4 * history), pages * history * 2);
const random = new Random(seed);
const attached = attach(handle);
const table = attached.table('app');
const report = { checked: 0, contended: 0, stale: 0, retries: 0, faults: 0, wrong: [] };
const VALID = 1n << 63n;
const WRITE = 1n << 62n;
const PFN = (1n << 52n) - 1n;

const READ = 0;
const FOR_WRITE = 1;
const frameAt = (page, k, access) => frames[(page * history + (k % history)) * 2 + access];
const tagAt = (page, k) => tags[page * history + (k % history)];

/** The version once the operation that runs, if one does, is over. */
function settled(page) {
  for (;;) {
    const version = Atomics.load(versions, page);
    if (version % 2 === 0 || Atomics.load(control, 0) === 1) return version & ~1;
    Atomics.wait(versions, page, version, 1);
  }
}

/** Was `value` what `of(settled version)` said at some moment from version `before` to version `after`? Null: nobody knows any more. */
function wasTrue(page, before, after, value, of) {
  const calm = before === after && before % 2 === 0;
  const last = after % 2 === 0 ? after : settled(page);
  let answer = !calm && value < 0; // on its way from one to the other a page may be nowhere
  for (let k = before >> 1; k <= last >> 1; k++) answer ||= of(page, k) === value;
  if ((Atomics.load(versions, page) >> 1) - (before >> 1) > history - 2) return null;
  report.checked++;
  if (!calm) report.contended++;
  return answer;
}

function wrong(text) {
  if (report.wrong.length < 3) report.wrong.push(text);
  Atomics.add(control, 2, 1);
}

function place() {
  const { base, first, pages: count } = places[random.below(places.length)];
  const at = random.below(count);
  return { addr: base + BigInt(at) * 4096n, page: first + at, left: count - at };
}

function checkTranslate() {
  const { addr, page } = place();
  const access = random.below(2);
  const before = Atomics.load(versions, page);
  const answer = table.translatePage(Number(addr / 4096n), access === READ ? 'r' : 'w');
  const after = Atomics.load(versions, page);
  if (wasTrue(page, before, after, Math.max(answer, -1), (p, k) => frameAt(p, k, access)) === false) wrong(`translate ${addr.toString(16)} for ${access === READ ? 'reading' : 'writing'}: ${answer}, versions ${before} to ${after}`);
}

function checkBatch() {
  const chosen = Array.from({ length: 1 + random.below(64) }, place);
  const before = chosen.map(({ page }) => Atomics.load(versions, page));
  const answers = table.translatePages(Float64Array.from(chosen, ({ addr }) => Number(addr / 4096n)));
  const after = chosen.map(({ page }) => Atomics.load(versions, page));
  chosen.forEach(({ addr, page }, i) => {
    if (wasTrue(page, before[i], after[i], Math.max(answers[i], -1), (p, k) => frameAt(p, k, READ)) === false) wrong(`batch ${addr.toString(16)}: ${answers[i]}, versions ${before[i]} to ${after[i]}`);
  });
}

function checkRead() {
  const { addr, page } = place();
  const before = Atomics.load(versions, page);
  let tag = -1;
  try {
    tag = new DataView(table.read(addr, 4, { fault: false }).buffer).getUint32(0, true);
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT')) throw error;
  }
  const after = Atomics.load(versions, page);
  // Bytes that are being written may be anything.
  if (before !== after || before % 2 !== 0) return;
  const of = (p, k) => (frameAt(p, k, READ) < 0 ? -1 : tagAt(p, k));
  if (wasTrue(page, before, after, tag, of) === false) wrong(`read ${addr.toString(16)}: tag ${tag}, not ${of(page, before >> 1)}, version ${before}`);
}

function checkWalk() {
  const { addr, page, left } = place();
  const count = 1 + random.below(left);
  const before = Array.from({ length: count }, (_, i) => Atomics.load(versions, page + i));
  const [{ pfns, state }] = [...table.walk(addr, count * 4096)];
  const words = pfns.slice();
  // At times the words are kept for a while before they are used.
  if (random.below(4) === 0) Atomics.wait(control, 3, Atomics.load(control, 3), 5);
  // After the walk, and before it is asked whether the words are still good.
  const during = before.map((_, i) => Atomics.load(versions, page + i));
  if (table.stale(state, addr, count * 4096)) {
    report.stale++;
    return;
  }
  for (let i = 0; i < count; i++) {
    const word = words[i];
    const valid = (word & VALID) !== 0n;
    const frame = valid ? Number(word & PFN) : -1;
    // What was there at the end was there all the time from the walk on; only a hole may have been filled.
    const from = valid ? during[i] : before[i];
    const where = `walk ${(addr + BigInt(i) * 4096n).toString(16)}: ${word.toString(16)}, versions ${before[i]} to ${during[i]}`;
    if (wasTrue(page + i, from, during[i], frame, (p, k) => frameAt(p, k, READ)) === false) wrong(where);
    if ((word & WRITE) !== 0n && wasTrue(page + i, from, during[i], frame, (p, k) => frameAt(p, k, FOR_WRITE)) === false) wrong(`${where}, for writing`);
  }
}

function askForPages() {
  const { addr } = place();
  report.faults++;
  try {
    table.fault(addr, 4096, { write: random.below(2) === 0 });
  } catch (error) {
    if (!HmmError.is(error, 'EFAULT') && !HmmError.is(error, 'EPERM')) throw error;
  }
}

Atomics.add(control, 1, 1);
try {
  while (Atomics.load(control, 0) === 0) {
    for (let i = 0; i < 50; i++) checkTranslate();
    for (let i = 0; i < 10; i++) checkRead();
    for (let i = 0; i < 10; i++) checkWalk();
    checkBatch();
    if (random.below(20) === 0) askForPages();
  }
} catch (error) {
  wrong(`thrown: ${error.stack}`);
}
report.retries = attached.counts.retries;
parentPort.postMessage(report);
