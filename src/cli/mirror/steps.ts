/**
 * The steps of a run, in order, under one live mirror. Each says what it did and checks what everybody then sees; the audit of the
 * tables after each is job.ts's.
 *
 * The device's accesses go through its own table and the bytes behind it alone. What a step writes is undone in `restore`, by the device,
 * before anything is taken away from the file.
 */
import { createHash } from 'node:crypto';
import type { PageSize, Policy, Task } from '../../index.ts';
import { MiB, alignUp, hex, pagesFor } from '../../units.ts';
import { countBySize, readTable } from './audit.ts';
import type { ApiName, WrittenRange } from './data.ts';
import type { Places } from './places.ts';
import { check, type Scene } from './scene.ts';

/** What a run measures on its way. Times are the host's. */
export interface Measures {
  cpuLeaves: Record<PageSize, number>;
  deviceLeaves: Record<PageSize, number>;
  cpuTableBytes: number;
  deviceTableBytes: number;
  faults: number;
  fillNs: number;
  readNs: number;
}

export interface StepContext {
  readonly scene: Scene;
  readonly places: Places;
  readonly measures: Measures;
  /** milliseconds of the host's clock */
  readonly nowMs: () => number;
}

export interface Step {
  readonly name: string;
  /** for people: what it shows */
  readonly title: string;
  /** its time is taken: nothing else may run in it */
  readonly isTimed?: boolean;
  run(context: StepContext): void;
}

/** What a device write to a read-only mapping is refused with. */
export const WRITE_REFUSED: Readonly<Record<ApiName, string>> = { modern: 'EPERM', '2019': 'EPERM' };

const READ_CHUNK_BYTES = 4 * MiB;
const AROUND_BYTES = 64 * 1024;

export const STEPS: readonly Step[] = [
  { name: 'fill', title: 'the device faults and fills the whole range', isTimed: true, run: fill },
  { name: 'read', title: 'it reads the file: SHA-256 as on disk', isTimed: true, run: readAll },
  { name: 'device-write', title: 'CPU and read(2) see device writes', run: deviceWrite },
  { name: 'cpu-write', title: 'the device sees CPU writes', run: cpuWrite },
  { name: 'atomic', title: 'device and CPU count in one word', run: atomicAdd },
  { name: 'fsync', title: 'the mirror loses its write rights', run: fsync },
  { name: 'mprotect', title: 'read-only: device writes are refused', run: mprotect },
  { name: 'restore', title: 'bytes put back: SHA-256 as on disk', run: restore },
  { name: 'race', title: 'a punch between walk and install', run: race },
  { name: 'punch', title: 'a hole in the middle reads zeroes', run: punch },
  { name: 'truncate', title: 'cut to half: EFAULT and SIGBUS beyond', run: truncate },
  { name: 'munmap', title: 'nothing is left in the device', run: munmap },
];

function fill({ scene, measures, nowMs }: StepContext): void {
  const { mirror, mm, map, machine, page } = scene;
  const faultsBefore = machine.counts.faults;
  const startMs = nowMs();
  mirror.fault(map.start, map.length);
  measures.fillNs = (nowMs() - startMs) * 1e6;
  measures.faults = machine.counts.faults - faultsBefore;
  measures.cpuLeaves = countBySize(readTable(machine.memory.buffer, mm.tableRoot));
  measures.deviceLeaves = countBySize(readTable(machine.memory.buffer, mirror.tableRoot));
  measures.cpuTableBytes = mm.tableBytes;
  measures.deviceTableBytes = mirror.tableBytes;
  const leaves = map.length / scene.leafBytes;
  for (const [whose, counts] of [['CPU', measures.cpuLeaves], ['device', measures.deviceLeaves]] as const) {
    const isRight = Object.entries(counts).every(([size, count]) => count === (size === page ? leaves : 0));
    check(isRight, () => `the ${whose} page table has ${leavesInWords(counts)}, where ${leaves} × ${page} ought to be`);
  }
  check(measures.faults === leaves, () => `${measures.faults} page faults, where ${leaves} are enough`);
}

function readAll({ scene, measures, nowMs }: StepContext): void {
  const seen = hashThroughDevice(scene, (ns) => (measures.readNs += ns), nowMs);
  check(seen === scene.host.sha256, () => `the device's bytes have SHA-256 ${seen.slice(0, 16)}…, the file on disk ${scene.host.sha256.slice(0, 16)}…`);
  const rest = scene.map.length - scene.host.length;
  for (const offset of [scene.host.length, scene.map.length - AROUND_BYTES]) {
    if (offset >= scene.host.length && rest > 0) scene.deviceReads(offset, Math.min(AROUND_BYTES, rest));
  }
}

function deviceWrite({ scene, places }: StepContext): void {
  for (const range of [...places.device, ...places.cpu, places.atomic]) scene.remember(range.offset, range.length);
  for (const range of places.device) {
    const bytes = markOf(scene, 'device', range);
    scene.mirror.write(scene.addr(range.offset), bytes);
    scene.patched('device', range.offset, bytes);
  }
  for (const { offset, length } of places.device) {
    scene.cpuReads(offset, length);
    scene.fileReads(offset, length);
    scene.realFileReads(offset, length);
  }
}

function cpuWrite({ scene, places }: StepContext): void {
  for (const range of places.cpu) {
    const bytes = markOf(scene, 'cpu', range);
    scene.mm.store(scene.addr(range.offset), bytes);
    scene.patched('cpu', range.offset, bytes);
  }
  for (const { offset, length } of places.cpu) {
    scene.deviceReads(offset, length);
    scene.fileReads(offset, length);
    scene.realFileReads(offset, length);
  }
}

function atomicAdd({ scene, places }: StepContext): void {
  const { mirror, mm } = scene;
  const { offset, length } = places.atomic;
  const addr = scene.addr(offset);
  const first = wordOf(scene.expected(offset, length));
  const before = mirror.atomicAdd(addr, 1n);
  check(before === first, () => `the device's atomic add found ${hex(before)}, where ${hex(first)} ought to be`);
  const second = BigInt.asUintN(64, first + 1n + 41n);
  mm.store(addr, bytesOf(second));
  const found = mirror.atomicAdd(addr, 1n);
  check(found === second, () => `after a CPU store of ${hex(second)} the device's atomic add found ${hex(found)}`);
  scene.patched('atomic', offset, bytesOf(BigInt.asUintN(64, second + 1n)));
  scene.cpuReads(offset, length);
  scene.fileReads(offset, length);
  scene.realFileReads(offset, length);
}

function fsync({ scene, places }: StepContext): void {
  const { mirror, file } = scene;
  file.fsync();
  scene.audit();
  for (const { offset } of writtenPlaces(places)) {
    check(!mirror.maps(scene.addr(offset), { write: true }), () => `after fsync the device may still write at byte ${hex(offset)} without a fault`);
  }
  const faultsBefore = mirror.stats.faults;
  const first = places.device[0] as WrittenRange;
  const bytes = markOf(scene, 'again', first);
  mirror.write(scene.addr(first.offset), bytes);
  scene.patched('device', first.offset, bytes);
  const faults = mirror.stats.faults - faultsBefore;
  check(faults === 1, () => `the device's first write after fsync took ${faults} faults, where it needs one`);
  scene.cpuReads(first.offset, first.length);
}

function mprotect({ scene, places }: StepContext): void {
  const { mirror, mm, map, api } = scene;
  mm.mprotect(map.start, map.length, 'r');
  scene.audit();
  for (const range of places.device) {
    scene.deviceRefused(`a device write to a read-only page at byte ${hex(range.offset)}`, WRITE_REFUSED[api], () => mirror.write(scene.addr(range.offset), markOf(scene, 'never', range)));
    scene.deviceReads(range.offset, range.length);
    scene.fileReads(range.offset, range.length);
  }
  scene.audit();
  mm.mprotect(map.start, map.length, 'rw');
}

function restore({ scene, nowMs }: StepContext): void {
  for (const { offset, bytes } of scene.originals) scene.mirror.write(scene.addr(offset), bytes);
  scene.restored();
  const seen = hashThroughDevice(scene, () => {}, nowMs);
  check(seen === scene.host.sha256, () => `with its bytes put back the device reads SHA-256 ${seen.slice(0, 16)}…, the file on disk has ${scene.host.sha256.slice(0, 16)}…`);
  scene.file.fsync();
  if (!scene.isShared) return;
  const real = scene.host.hash();
  check(real === scene.host.sha256, () => `the real file has SHA-256 ${real.slice(0, 16)}… after its bytes were put back`);
}

/**
 * The race that the sequence protocol is there for: the device has walked and stands before its lock when the first page of the file is
 * punched. It must notice, walk again, and see the hole.
 */
function race({ scene }: StepContext): void {
  const { mirror, file, machine, map } = scene;
  const retriesBefore = mirror.stats.retries;
  const seen = new Uint8Array(64);
  const device = machine.spawn('device', mirror.task.read(map.start, seen));
  const punching = machine.spawn('punch', file.task.punch(0, 4096));
  machine.run({ policy: whileAtItsLock(device, punching) });
  scene.punched(0, 4096);
  scene.audit();
  scene.compare('the device', 0, seen);
  const retries = mirror.stats.retries - retriesBefore;
  check(retries === 1, () => `the device walked again ${retries} times, where the punch asks for once`);
}

/** Runs `device` until it stands before its driver's lock, then `other` to its end, then `device` to its own. */
function whileAtItsLock(device: Task, other: Task): Policy {
  return {
    choose(ready) {
      const isAtLock = device.step?.kind === 'wait' && device.step.what.startsWith('device lock');
      const wanted = device.finished || (isAtLock && !other.finished) ? other : device;
      const index = ready.indexOf(wanted);
      return index < 0 ? 0 : index;
    },
  };
}

function punch({ scene, places }: StepContext): void {
  const { mirror, file } = scene;
  const { offset, length } = places.punch;
  file.punch(offset, length);
  scene.punched(offset, length);
  for (const at of [offset, offset + length - 4096]) check(!mirror.maps(scene.addr(at)), () => `the device still maps byte ${hex(at)}, which was punched`);
  scene.audit();
  scene.deviceReads(offset, length);
  const from = Math.max(0, offset - AROUND_BYTES);
  scene.deviceReads(from, Math.min(scene.map.length, offset + length + AROUND_BYTES) - from);
  scene.cpuReads(offset, Math.min(length, AROUND_BYTES));
  scene.fileReads(offset, length);
}

function truncate({ scene, places }: StepContext): void {
  const { mirror, file, map } = scene;
  const size = places.halfBytes;
  file.truncate(size);
  scene.audit();
  const beyond = alignUp(size, 4096);
  for (const offset of new Set([beyond, map.length - 4096])) {
    scene.deviceRefused(`a device read beyond the end, at byte ${hex(offset)},`, 'EFAULT', () => mirror.read(scene.addr(offset), 1));
    scene.cpuSignalled(offset, 'SIGBUS');
  }
  const from = Math.max(0, size - AROUND_BYTES);
  scene.deviceReads(from, pagesFor(size) * 4096 - from);
  scene.cpuReads(from, pagesFor(size) * 4096 - from);
}

function munmap({ scene }: StepContext): void {
  const { mirror, mm, map, pmem, machine } = scene;
  mm.munmap(map.start, map.length);
  scene.unmapped();
  const left = readTable(machine.memory.buffer, mirror.tableRoot);
  check(left.length === 0, () => `after munmap the device still has ${leavesInWords(countBySize(left))}`);
  scene.deviceRefused('a device read after munmap', 'EFAULT', () => mirror.read(map.start, 1));
  scene.cpuSignalled(0, 'SIGSEGV');
  check(pmem.pgmap.refs === 0, () => `${pmem.pgmap.refs} references on the pagemap are not put back: ${[...pmem.pgmap.holders.keys()].join(', ')}`);
}

/** SHA-256 of the file's bytes as the device reads them; `spent` hears the time of its reads alone. */
function hashThroughDevice(scene: Scene, spent: (ns: number) => void, nowMs: () => number): string {
  const { mirror, host } = scene;
  const hash = createHash('sha256');
  const chunk = new Uint8Array(Math.min(READ_CHUNK_BYTES, host.length));
  for (let at = 0; at < host.length; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, host.length - at));
    const startMs = nowMs();
    mirror.readInto(scene.addr(at), part);
    spent((nowMs() - startMs) * 1e6);
    hash.update(part);
  }
  return hash.digest('hex');
}

function writtenPlaces(places: Places): readonly WrittenRange[] {
  return [...places.device, ...places.cpu, places.atomic];
}

/** Bytes to write there: each differs from what stands there now, and from what another writer would put. */
function markOf(scene: Scene, who: 'device' | 'cpu' | 'again' | 'never', { offset, length }: WrittenRange): Uint8Array {
  const flips = { device: 0x5a, cpu: 0xa5, again: 0x3c, never: 0xff }[who];
  return scene.expected(offset, length).map((byte) => byte ^ flips);
}

function wordOf(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

function bytesOf(word: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, word, true);
  return bytes;
}

function leavesInWords(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0);
  return some.length === 0 ? 'no leaves' : some.map(([size, count]) => `${count} × ${size}`).join(', ');
}
