/**
 * The guarantee as running checks: "anything done to the CPU page table is reflected to every mirror" (DESIGN, section 7).
 *
 * Rules are held to after each step, or every Nth, with nothing in flight; those about the order of things while they happen. All is
 * found by itself: processes, mirrors of every kind, file systems, device maps. Only what has changed is looked at again. Where the
 * profile reproduces a real kernel's breach, the code that does so says which field it is: the finding is made all the same, and names it.
 */
import type { MachineEvent, NotifierEvent } from '../events/events.ts';
import type { FileSystem } from '../fs/index.ts';
import type { PgMap, Platform } from '../memremap/index.ts';
import type { Mm } from '../mm/index.ts';
import { addrOf, hex } from '../units.ts';
import { checkPoison, checkUse } from './afterlife.ts';
import { checkNoArea, checkRefusal } from './answers.ts';
import { Copies } from './copies.ts';
import type { Finding, Sighting } from './finding.ts';
import { Frames } from './frames.ts';
import { Ledger } from './ledger.ts';
import { LockRules } from './lockRules.ts';
import { checkMirror, checkTaken, type WatchedMirror } from './mirrors.ts';
import { checkDriver, type OwnDriver } from './ownDriver.ts';
import { checkDirty, checkSync } from './persistence.ts';
import { RangeCalls } from './rangeCalls.ts';
import { chunkNow, forEachChunk } from './rights.ts';
import { noLooks, type Looked, type Rule } from './rules.ts';
import { checkTable } from './tables.ts';
import { Told, type ToldCount } from './told.ts';
import { Uncommitted } from './uncommitted.ts';
import { checkValid } from './valid2019.ts';

/** What the checker looks at of a machine. */
export interface Checked {
  readonly platform: Platform;
  readonly mms: readonly Mm[];
  readonly fileSystems?: readonly FileSystem[];
}

export interface CheckerOptions {
  /** rules to leave out; default none */
  readonly without?: readonly Rule[];
  /** stop collecting after so many findings (default 100) */
  readonly findingsMax?: number;
  /** look at tables after every so many steps only (default 1) */
  readonly every?: number;
  /** remember from where each reference was taken */
  readonly stacks?: boolean;
}

interface Breach {
  readonly rule: string;
  readonly field: string;
  readonly mm: number;
  readonly start: number;
  readonly end: number;
}

export class Checker {
  readonly findings: Finding[] = [];
  steps = 0;
  /** how often each rule had something to look at */
  readonly looked: Looked = noLooks();
  /** invalidations by event: told of how much, for how much */
  readonly told = new Map<NotifierEvent, ToldCount>();
  readonly #machine: Checked;
  readonly #options: CheckerOptions;
  readonly #every: number;
  readonly #spaces = new Map<number, Told>();
  readonly #mirrors: WatchedMirror[] = [];
  readonly #drivers: OwnDriver[] = [];
  readonly #systems: FileSystem[] = [];
  readonly #frames: Frames;
  readonly #ledger: Ledger;
  readonly #locks: LockRules;
  readonly #calls: RangeCalls;
  readonly #uncommitted = new Uncommitted();
  readonly #copies: Copies;
  /** seen since the last step, with who did it */
  #seen: (Sighting & { readonly task: string; readonly field: string | null })[] = [];
  readonly #report = (sighting: Sighting): void => {
    // An answer is wrong by what the kernel has just said of itself; of the rest it may say so later in the step.
    const field = sighting.rule === 'hmm-answers' ? this.#breaches.findLast((one) => explains(one, sighting))?.field : undefined;
    this.#seen.push({ task: this.#machine.platform.sched.current.name, ...sighting, field: field ?? null });
  };
  /** what a mirror has wrong is told once, and not after every step in which it still is */
  readonly #stale = new Set<string>();
  readonly #reportOnce = (sighting: Sighting): void => {
    if (this.#stale.has(sighting.what)) return;
    this.#stale.add(sighting.what);
    this.#report(sighting);
  };
  /** of this step, and of all: what stays stays */
  #breaches: Breach[] = [];
  readonly #allBreaches: Breach[] = [];
  /** blocks were freed, or a device went: every entry may be wrong now */
  #anyMayBeWrong = false;
  /** tags were cleared, or may stand for others now */
  #wroteBack = false;
  readonly #stop: () => void;

  constructor(machine: Checked, options: CheckerOptions = {}) {
    this.#machine = machine;
    this.#options = options;
    this.#every = options.every ?? 1;
    if (!Number.isSafeInteger(this.#every) || this.#every < 1) throw new RangeError(`Checker: every must be a whole number of steps, not ${String(options.every)}`);
    const { platform } = machine;
    this.#frames = new Frames(platform, this.#report, this.looked);
    this.#ledger = new Ledger(platform, options.stacks === true, this.#report);
    this.#locks = new LockRules(platform.sched, this.#report, this.looked);
    this.#calls = new RangeCalls(this.#report, this.looked);
    this.#copies = new Copies(platform, this.#report, this.looked);
    this.#stop = platform.bus.observe((event) => this.#hear(event));
    platform.ledger = this.#ledger;
    platform.records.watch = this.#ledger;
    platform.uncommitted = this.#uncommitted;
    platform.sched.watch = this.#locks;
    platform.pageLocks.watch = this.#locks;
    for (const mm of machine.mms) this.#space(mm.id);
  }

  /** Compares the table of this mirror too, from now on: one that its process does not know. */
  watch(mirror: WatchedMirror): void {
    this.#mirrors.push(mirror);
  }

  /** Compares what a user's own driver keeps, too. */
  watchDriver(driver: OwnDriver): void {
    this.#drivers.push(driver);
  }

  /** Looks at which blocks the files of this file system have, too: one that the machine does not know. */
  watchBlocks(fs: FileSystem): void {
    this.#systems.push(fs);
  }

  /** Pages invalidated, and those of them that no longer are what they were: the rest was told for nothing. */
  get invalidatedPages(): number {
    return this.#sum('pages');
  }

  get lostPages(): number {
    return this.#sum('lost');
  }

  /** After an operation: everything is looked at that it may have changed. Returns what is new. `replay`: what plays it again. */
  step(operation: string, replay = ''): readonly Finding[] {
    const first = this.findings.length;
    this.steps++;
    const { platform, mms } = this.#machine;
    const due = this.steps % this.#every === 0;
    if (due) {
      if (this.#spaces.size > mms.length) this.#forget();
      for (const mm of mms) this.#checkSpace(this.#space(mm.id) as Told, operation);
      this.#forEachMirror((mirror) => this.#checkMirror(mirror));
      this.#checkDrivers();
      if (this.#anyMayBeWrong) this.#checkHeld();
      this.#anyMayBeWrong = false;
      this.#wroteBack = false;
    }
    if (!platform.sched.tasks.some((task) => !task.finished)) {
      this.#ledger.step(operation, this.#report, this.looked);
      this.#locks.atRest();
    }
    this.#conclude(operation, replay, this.#breaches);
    if (due) this.#breaches = [];
    return this.findings.slice(first);
  }

  /** At rest, when a run is over: all tables against freed blocks and dead devices, and what began has ended. */
  end(operation: string, replay = ''): readonly Finding[] {
    const first = this.findings.length;
    this.#anyMayBeWrong = true;
    this.#wroteBack = true;
    for (const mm of this.#machine.mms) this.#checkSpace(this.#space(mm.id) as Told, operation);
    this.#forEachMirror((mirror) => {
      this.#checkMirror(mirror);
      this.#checkCount(mirror);
    });
    this.#checkDrivers();
    for (const mm of this.#machine.mms) this.#checkBalance(mm);
    for (const map of this.#machine.platform.pgmaps.all) this.#checkHolders(map);
    this.#checkHeld();
    this.#conclude(operation, replay, this.#allBreaches);
    return this.findings.slice(first);
  }

  /** Who holds references beyond mappings, a line each. */
  get holders(): readonly string[] {
    return this.#ledger.text;
  }

  /** Listens no longer. */
  close(): void {
    this.#stop();
    const { platform } = this.#machine;
    if (platform.ledger === this.#ledger) platform.ledger = null;
    if (platform.records.watch === this.#ledger) platform.records.watch = null;
    if (platform.uncommitted === this.#uncommitted) platform.uncommitted = null;
    if (platform.sched.watch === this.#locks) platform.sched.watch = null;
    if (platform.pageLocks.watch === this.#locks) platform.pageLocks.watch = null;
  }

  // ── what is heard ──

  #hear(event: MachineEvent): void {
    switch (event.type) {
      case 'invalidate-start':
        this.#space(event.mm)?.start(event.event, event.start, event.end);
        this.#calls.invalidated(event.mm, event.start, event.end);
        this.#copies.invalidated(event.mm, event.start, event.end);
        break;
      case 'invalidate-told':
        this.#space(event.mm)?.allTold(event.event, event.start, event.end);
        break;
      case 'invalidate-refused':
        this.#space(event.mm)?.refused(event.event, event.start, event.end);
        break;
      case 'invalidate-end':
        this.#space(event.mm)?.ended(event.event, event.start, event.end);
        break;
      case 'device-map':
        this.#space(event.mm)?.programmed(event.device, event.start, event.end);
        break;
      case 'entry': {
        const space = this.#space(event.mm);
        if (space !== null) checkSync(space.mm, event, this.#uncommitted, this.#report, this.looked);
        // A huge entry of a file stands for all of it, also where others map it in small pages.
        if (event.level > 0 && (space?.mm.vmas.at(event.vpn)?.file?.inode.mappings.size ?? 0) > 1) this.#wroteBack = true;
        break;
      }
      case 'fault':
        this.looked['bounded-retries']++;
        if (this.#calls.any) this.#withSpace(event.mm, ({ mm }) => this.#calls.faulted(mm, event));
        break;
      case 'hmm-called':
        this.#withSpace(event.call.mm, (space) => this.#calls.called(space.mm, event.call, space.touches(event.call.start, event.call.end)));
        break;
      case 'hmm-returned':
        this.#withSpace(event.call.mm, ({ mm }) => this.#calls.returned(mm, event.call, event.answer));
        break;
      case 'hmm-refused':
        this.#withSpace(event.mm, ({ mm }) => checkRefusal(mm, event, this.#report, this.looked));
        break;
      case 'hmm-no-area':
        this.#withSpace(event.mm, ({ mm }) => checkNoArea(mm, event, this.#report, this.looked));
        break;
      case 'hmm-valid':
        this.#withSpace(event.mm, (space) => checkValid(space, event, this.#report, this.looked));
        break;
      case 'poison':
        this.#withSpace(event.mm, ({ mm }) => checkPoison(mm, event, this.#report, this.looked));
        break;
      case 'driver-used':
        checkUse(event, this.#report, this.looked);
        break;
      case 'pte-table':
        this.#withSpace(event.mm, ({ mm }) => checkTable(mm, event, this.#report, this.looked));
        break;
      case 'layout-break':
        this.#copies.begins(event, (id) => this.#space(id)?.mm ?? null);
        break;
      case 'layout-broken':
        this.#copies.ends(event);
        break;
      case 'worker-took':
        this.#withSpace(event.mm, ({ mm }) => checkTaken(mm, event, this.#report, this.looked));
        break;
      case 'livelock':
        this.#livelock(event);
        break;
      case 'breach':
        this.#breaches.push(event);
        if (event.rule !== 'hmm-answers') this.#allBreaches.push(event); // an answer is wrong when it is given
        break;
      case 'blocks':
        if (event.freed) this.#anyMayBeWrong = true;
        break;
      case 'pgmap':
        this.#anyMayBeWrong = true;
        break;
      case 'writeback':
        this.#wroteBack = true;
        break;
      default:
    }
  }

  #livelock({ mm, loop, vpn, rounds }: Extract<MachineEvent, { type: 'livelock' }>): void {
    this.#report({
      rule: 'bounded-retries', mm, start: vpn, end: vpn + 1, what: `${loop} has gone round ${rounds === 1 ? 'once' : `${rounds} times`} at ${hex(addrOf(vpn))} with nothing changed, and nobody else will change anything`,
      missing: 'each round makes progress, or the loop gives up with an error',
    });
  }

  #withSpace(id: number, visit: (space: Told) => void): void {
    const space = this.#space(id);
    if (space !== null) visit(space);
  }

  #space(id: number): Told | null {
    const known = this.#spaces.get(id);
    if (known !== undefined) return known;
    const mm = this.#machine.mms.find((one) => one.id === id);
    if (mm === undefined) return null;
    const space = new Told(mm, this.#report, this.looked, this.told);
    space.shadow.refresh(() => undefined);
    this.#spaces.set(id, space);
    return space;
  }

  /** Processes that are no more. */
  #forget(): void {
    const alive = new Set(this.#machine.mms.map(({ id }) => id));
    for (const id of this.#spaces.keys()) if (!alive.has(id)) this.#spaces.delete(id);
  }

  // ── what is looked at ──

  #checkSpace(space: Told, operation: string): void {
    const { mm, shadow } = space;
    space.step(operation);
    const { changed } = shadow;
    if (!mm.alive) {
      changed.clear();
      return;
    }
    const systems = this.#allSystems;
    const same = (page: number): number => page;
    if (this.#anyMayBeWrong || this.#wroteBack) {
      forEachChunk(mm.pageTable, (base, chunk) => {
        if (this.#anyMayBeWrong || changed.has(base)) this.#frames.check(systems, mm, mm.name, base, chunk, same);
        if (this.#wroteBack || changed.has(base)) checkDirty(mm, base, chunk, this.#report, this.looked);
      });
    } else {
      for (const base of changed) {
        const chunk = chunkNow(mm.pageTable, base);
        if (chunk === null) continue;
        this.#frames.check(systems, mm, mm.name, base, chunk, same);
        checkDirty(mm, base, chunk, this.#report, this.looked);
      }
    }
    changed.clear();
  }

  get #allSystems(): readonly FileSystem[] {
    const { fileSystems = [] } = this.#machine;
    return this.#systems.length === 0 ? fileSystems : [...fileSystems, ...this.#systems.filter((one) => !fileSystems.includes(one))];
  }

  #forEachMirror(visit: (mirror: WatchedMirror) => void): void {
    for (const mm of this.#machine.mms) for (const mirror of mm.mirrors) if (mirror.attached) visit(mirror);
    for (const mirror of this.#mirrors) if (mirror.attached && !known(mirror)) visit(mirror);

    function known({ mm, table }: WatchedMirror): boolean {
      for (const one of mm.mirrors) if (one.table === table) return true;
      return false;
    }
  }

  #checkMirror(mirror: WatchedMirror): void {
    const { mm, name, table } = mirror;
    this.looked['mirror-coherent'] += checkMirror(mirror, this.#spaces.get(mm.id) ?? null, this.#reportOnce);
    if (!this.#anyMayBeWrong) return;
    const systems = this.#allSystems;
    forEachChunk(table, (base, chunk) => this.#frames.check(systems, mm, name, base, chunk, (page) => mirror.vpnOf(page)));
  }

  #checkDrivers(): void {
    for (const driver of this.#drivers) this.looked['mirror-coherent'] += checkDriver(driver, this.#spaces.get(driver.mm.id) ?? null, this.#reportOnce);
  }

  #checkBalance(mm: Mm): void {
    const { active } = mm.notifiers;
    if (active === 0) return;
    const open = this.#spaces.get(mm.id)?.open ?? [];
    const { start = 0, end = 0, task, operation } = open[0] ?? {};
    this.#report({
      rule: 'balanced', mm: mm.id, start, end, what: `${active} invalidation${active === 1 ? '' : 's'} of ${mm.name} began and ${active === 1 ? 'has' : 'have'} not ended`,
      missing: 'mmu_notifier_invalidate_range_end()',
      details: open.map((one) => `began: ${one.event} of ${hex(addrOf(one.start))}..${hex(addrOf(one.end))} by ${one.task}${one.operation === null ? '' : `, ${one.operation}`}`),
      ...(task === undefined ? {} : { task }), ...(typeof operation === 'string' ? { operation } : {}),
    });
  }

  #checkCount({ mm, name, inProgress = 0 }: WatchedMirror): void {
    if (inProgress <= mm.notifiers.active) return;
    this.#report({ rule: 'balanced', mm: mm.id, start: 0, end: 0, what: `${name} counts ${inProgress} invalidations of which it never heard the end`, missing: 'range_end() of every listener whose range_start() was called' });
  }

  #checkHolders(map: PgMap): void {
    this.looked['pagemap-references']++;
    const holders = holdersText(map);
    const [mm] = this.#machine.mms;
    if (map.state === 'dead' || holders === '' || mm === undefined) return;
    this.#report({ rule: 'pagemap-references', mm: mm.id, start: 0, end: 0, what: `${map.name} has references that nobody will give back: ${holders}`, missing: 'put_dev_pagemap() on every way out of the walk' });
  }

  /** Pages that somebody holds, or has in use, are there still, and some file's. */
  #checkHeld(): void {
    const systems = this.#allSystems;
    const { pgmaps } = this.#machine.platform;
    for (const { pfn, by } of this.#ledger.ofDevices()) {
      if (pgmaps.find(pfn) !== null) continue;
      this.#reportOnce({ rule: 'page-references', mm: 0, start: 0, end: 0, what: `frame ${hex(pfn)} of ${pgmaps.nameOf(pfn) ?? 'a device'} is in use, and its memory is gone`, missing: 'memunmap_pages() waits for the last reference', details: by });
    }
    for (const { pfn, by } of this.#ledger.held()) {
      const fs = systems.find((one) => one.pgmap.covers(pfn));
      if (fs === undefined) continue;
      this.looked['blocks-owned']++;
      if (!fs.allocator.isFree(pfn)) continue;
      this.#reportOnce({ rule: 'blocks-owned', mm: 0, start: 0, end: 0, what: `frame ${hex(pfn)} is held, and is a block that no file has`, missing: 'the wait of dax_layout_busy_page() for its last reference', details: by });
    }
  }

  #conclude(operation: string, replay: string, breaches: readonly Breach[]): void {
    if (this.#seen.length === 0) return;
    const { without = [], findingsMax = 100 } = this.#options;
    const seen = this.#seen;
    this.#seen = [];
    for (const { cpu = null, device = null, details = [], field: said, ...sighting } of seen) {
      const { rule } = sighting;
      if (without.includes(rule) || this.findings.length >= findingsMax) continue;
      // What was not told stays wrong in a mirror until it is told again, by the same breach.
      const stays = rule === 'pagemap-alive' || rule === 'mirror-coherent';
      const field = said ?? (rule === 'hmm-answers' ? null : ((stays ? this.#allBreaches : breaches).find((one) => explains(one, sighting))?.field ?? null));
      this.findings.push({ operation, ...sighting, cpu, device, details, replay, knownBy: field });
    }
  }

  #sum(member: 'pages' | 'lost'): number {
    let sum = 0;
    for (const count of this.told.values()) sum += count[member];
    return sum;
  }
}

/** Is this the kernel's own breach of the rule, there? */
function explains(breach: Breach, { rule, mm, start, end }: Sighting): boolean {
  const broken = rule === 'mirror-coherent' ? 'told-before-taken' : rule;
  return (breach.rule === rule || breach.rule === broken) && (start === end || (breach.mm === mm && breach.start < end && start < breach.end));
}

/** Who took references and still has them: '2 by hmm_vma_walk'. Pages of device memory that are in use have theirs. */
function holdersText(map: PgMap): string {
  return Array.from(map.holders, ([place, count]) => (place === 'device pages' ? '' : `${count} by ${place}`)).filter((text) => text !== '').join(', ');
}
