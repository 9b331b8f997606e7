/**
 * What the era's probe holds between operations: its mirrors and their ranges, invalidations opened by hand, pagemaps killed by
 * hand, pages locked for migration, and from which count on each pagemap's references are told.
 */
import { HmmError } from '../errno.ts';
import { hmmMirrorRegister, hmmMirrorUnregister, type HmmMirror, type Range2019 } from '../hmm/index.ts';
import type { PgMap } from '../memremap/index.ts';
import { holdPages, releasePages, type HeldPage, type NotifierRange } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Vpn } from '../units.ts';
import { Skip } from './operation.ts';
import { END_VPN, FIRST_VPN, type Process } from './process.ts';
import { makeRange } from './walk2019.ts';

/** What a mirror heard, and its range's `valid` as it was then. */
export interface HeardUpdate {
  readonly start: Vpn;
  readonly end: Vpn;
  readonly block: boolean;
  readonly valid: boolean;
}

export interface ProbeMirror {
  readonly mirror: HmmMirror;
  readonly range: Range2019;
  readonly dispose: () => void;
  log: HeardUpdate[];
}

export class Probe2019 {
  readonly #mirrors = new Map<string, ProbeMirror>();
  /** references of each pagemap when it was first asked for */
  readonly #bases = new Map<PgMap, number>();
  readonly #dying: PgMap[] = [];
  readonly #held: HeldPage[] = [];
  readonly #open: { readonly process: Process; readonly range: NotifierRange }[] = [];

  // ── mirrors ──

  /** A mirror, which sees the whole address space, and a range. `again`: it answers -EAGAIN where it may not block. */
  addMirror(process: Process, id: string, start: Vpn, npages: number, again: boolean): void {
    const { range, refused, dispose } = makeRange(process.mm, start, npages, { defaultFlags: 0n, fault: false });
    if (refused !== null) {
      dispose();
      throw new HmmError(refused, 'hmm_range_register', 'refused');
    }
    const heard: { log: HeardUpdate[] } = { log: [] };
    const mirror = hmmMirrorRegister(process.mm, id, {
      *syncCpuDevicePagetables({ start: from, end, blockable }) {
        if (again && !blockable) return false;
        // The runner's own memory lies lower, and higher, and is nobody's business.
        if (end > FIRST_VPN && from < END_VPN) heard.log.push({ start: from, end, block: blockable, valid: range.valid });
        return true;
      },
    });
    if (typeof mirror === 'string') {
      dispose();
      throw new HmmError(mirror, 'hmm_mirror_register', 'the process has exited');
    }
    this.#mirrors.set(keyOf(process, id), Object.assign(heard, { mirror, range, dispose }));
  }

  mirror(process: Process, id: string): ProbeMirror {
    const mirror = this.#mirrors.get(keyOf(process, id));
    if (mirror === undefined) throw new Skip(`no mirror ${id}`);
    return mirror;
  }

  /** Of a process, whichever. */
  anyMirror(process: Process): ProbeMirror | null {
    for (const [key, mirror] of this.#mirrors) if (key.startsWith(keyOf(process, ''))) return mirror;
    return null;
  }

  *removeMirror(process: Process, id: string): Sleepable<void> {
    const { mirror, dispose } = this.mirror(process, id);
    this.#mirrors.delete(keyOf(process, id));
    dispose();
    yield* hmmMirrorUnregister(mirror);
  }

  // ── pagemaps ──

  /** References relative to when first asked; null that first time. */
  references(map: PgMap): number | null {
    const base = this.#bases.get(map);
    const count = referencesOf(map);
    if (base !== undefined) return count - base;
    this.#bases.set(map, count);
    return null;
  }

  kill(process: Process, map: PgMap): void {
    if (map.state !== 'live') throw new HmmError('EBUSY', 'dying', `${map.name} is ${map.state}`);
    process.guest.platform.pgmaps.kill(map);
    this.#dying.push(map);
  }

  revive(process: Process): void {
    for (const map of this.#dying.splice(0)) if (map.state === 'killed') process.guest.platform.pgmaps.revive(map);
  }

  // ── pages on their way ──

  *holdPages(process: Process, start: Vpn, end: Vpn): Sleepable<void> {
    this.#held.push(...(yield* holdPages(process.mm, start, end)));
  }

  releasePages(process: Process): void {
    releasePages(process.guest.platform, this.#held.splice(0));
  }

  // ── invalidations by hand ──

  *startInvalidation(process: Process, range: NotifierRange): Sleepable<boolean> {
    if (!(yield* process.mm.notifiers.start(range))) return false;
    this.#open.push({ process, range });
    return true;
  }

  /** The one opened last; false: there is none. */
  endInvalidation(): boolean {
    const open = this.#open.pop();
    open?.process.mm.notifiers.end(open.range);
    return open !== undefined;
  }
}

function keyOf(process: Process, id: string): string {
  return `${process.who}/${id}`;
}

/** As the kernel counts them: one for each of the device's pages, and one for the owner, until the device goes. */
function referencesOf(map: PgMap): number {
  return map.refs + (map.state === 'live' || map.state === 'killed' ? map.npages + 1 : 0);
}
