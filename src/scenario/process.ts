/**
 * A process of a scenario, and what it has named: areas, files, mirrors, pins, children, threads. A child starts with its parent's names.
 *
 * Each mapping starts on a fresh 1 GiB boundary, plus what `skew` says.
 */
import type { DeviceMirror } from '../dmirror/index.ts';
import type { Inode } from '../fs/index.ts';
import type { Kvm } from '../kvm/index.ts';
import { VM_MAYSHARE, protString, type FileCalls, type IntervalSub, type MappedFile, type Mm, type NotifierRange, type Vma } from '../mm/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import type { Sleepable, Task } from '../sched/index.ts';
import type { SteppedReader } from '../share/index.ts';
import { DAX_PLACES, hex, signedHex, type Guest } from './guest.ts';
import { specialArea } from './layout.ts';
import { Names, type NamesOf } from './names.ts';
import { Skip, type Answer } from './operation.ts';
import { readSmaps, smapsOf } from './smaps.ts';
import type { AddressWord } from './words.ts';

const GIB_PAGES = 2 ** 18;
/** Mappings lie in [2^45, 3 * 2^44) bytes. */
export const FIRST_VPN: Vpn = 0x2000_0000_0000 / 4096;
export const END_VPN: Vpn = 0x3000_0000_0000 / 4096;

/** Mirrors and sets of pins that a probe keeps for a process. */
const PROBE_SLOTS = 16;

export interface Area {
  readonly id: string;
  readonly vpn: Vpn;
  readonly npages: number;
}

/** An open file, or device. */
export interface OpenFile {
  readonly place: string;
  readonly name: string;
  readonly file: MappedFile;
  close(): void;
  /** takes its name away. ENOENT */
  unlink(): void;
}

/** A thread of `async`. */
export interface Thread {
  readonly task: Task;
  readonly text: string;
}

export interface Pins {
  readonly mm: Mm;
  readonly pfns: readonly Pfn[];
}

export interface LoggedMirror {
  readonly mm: Mm;
  readonly sub: IntervalSub;
  readonly seq: number;
  readonly log: NotifierRange[];
  /** events since it was made */
  heard: number;
  /** how many of them were told of, or lost */
  told: number;
  /** it was removed: nobody calls it any more */
  freed: boolean;
}

export class Process {
  readonly guest: Guest;
  readonly mm: Mm;
  /** who answers: '' for the first process */
  readonly who: string;
  /** the number of the line it is at; a child's stays that of the line that forked it */
  line = 0;
  readonly areas: NamesOf<Area>;
  readonly files: NamesOf<OpenFile>;
  readonly mirrors: NamesOf<LoggedMirror>;
  readonly pins: NamesOf<Pins>;
  readonly children: NamesOf<Process>;
  readonly threads: NamesOf<Thread>;
  readonly devices: NamesOf<DeviceMirror>;
  readonly machines: NamesOf<Kvm>;
  readonly workers: NamesOf<SteppedReader>;
  /** signals that came without an access, not yet told */
  readonly signals: Answer[] = [];
  readonly names: Names;
  /** first frame it has shown of each device: frames are written down relative to it */
  readonly #firstFrames = new Map<string, Pfn>();
  #probeSlots = PROBE_SLOTS;
  #next = FIRST_VPN;
  #vmasText = '[]';

  constructor(guest: Guest, mm: Mm, who = '', names = new Names()) {
    this.guest = guest;
    this.mm = mm;
    this.who = who;
    this.names = names;
    this.areas = names.of('area');
    this.files = names.of('file');
    this.mirrors = names.of('mirror');
    this.pins = names.of('pins');
    this.children = names.of('child');
    this.threads = names.of('thread');
    this.devices = names.of('device');
    this.machines = names.of('machine');
    this.workers = names.of('worker');
  }

  /** The process that has `mm`, a copy of this one's: it starts with this one's names, and with what was last told of its areas. */
  forked(mm: Mm, who: string): Process {
    const child = new Process(this.guest, mm, who, this.names.copy());
    child.line = this.line;
    child.#next = this.#next;
    for (const [kind, pfn] of this.#firstFrames) child.#firstFrames.set(kind, pfn);
    child.#vmasText = this.#vmasText;
    return child;
  }

  /** The frame relative to the first one it has shown of its device, in bytes with a sign. */
  frame(kind: string, pfn: Pfn): string {
    const first = this.#firstFrames.get(kind) ?? pfn;
    this.#firstFrames.set(kind, first);
    return signedHex((pfn - first) * 4096);
  }

  /** The probe keeps so many mirrors and sets of pins in all, also where they were given back. False: there is no more room. */
  hasProbeSlot(): boolean {
    return this.#probeSlots > 0;
  }

  takeProbeSlot(): void {
    this.#probeSlots--;
  }

  // ── addresses ──

  /** In bytes. Skips what names no area. */
  byte({ name, offset, text }: AddressWord): number {
    if (name === null) return offset;
    if (name.startsWith('[')) {
      const special = specialArea(this.mm, name);
      if (special !== null) return special * 4096 + offset;
    }
    const area = this.areas.get(name);
    if (area === undefined) throw new Skip(`no address ${text}`);
    return area.vpn * 4096 + offset;
  }

  /** The page of an address, and the byte in it. */
  split(address: AddressWord): [vpn: Vpn, within: number] {
    const byte = this.byte(address);
    return [Math.floor(byte / 4096), byte % 4096];
  }

  /** Addresses of their own for `npages`, with a gap behind them. */
  place(npages: number, skew: number, align = 0): Vpn {
    const at = (align > GIB_PAGES ? Math.ceil(this.#next / align) * align : this.#next) + skew;
    this.#next = Math.floor((at + npages) / GIB_PAGES + 2) * GIB_PAGES;
    return at;
  }

  /** An address by the area that begins last at or below it; of two the one made first. */
  relative(byte: number): string {
    let best: Area | null = null;
    for (const area of this.areas.values()) if (area.vpn * 4096 <= byte && (best === null || area.vpn > best.vpn)) best = area;
    return best === null || byte >= END_VPN * 4096 ? 'outside' : `${best.id}+${hex(byte - best.vpn * 4096)}`;
  }

  // ── files ──

  file(id: string): OpenFile {
    const file = this.files.get(id);
    if (file === undefined) throw new Skip(`no file ${id}`);
    return file;
  }

  inode(id: string): Inode {
    const { inode } = this.file(id).file;
    if (!('fs' in inode)) throw new Skip(`${id} is on no file system`);
    return inode as Inode;
  }

  calls(id: string): FileCalls {
    const { calls } = this.file(id).file;
    if (calls === undefined) throw new Skip(`${id} has no such calls`);
    return calls;
  }

  // ── what is mapped ──

  /** The VMAs where they are not as last told, else null. */
  changedVmas(): Answer[] | null {
    const vmas = this.#listVmas();
    const text = JSON.stringify(vmas);
    if (text === this.#vmasText) return null;
    this.#vmasText = text;
    return vmas;
  }

  /** /proc/self/smaps: all of it is read, and told of what lies in the area named, and up to 1 GiB beyond. */
  *smaps(id: string): Sleepable<Answer[]> {
    const named = this.areas.get(id);
    const start = named?.vpn ?? FIRST_VPN;
    const end = named === undefined ? END_VPN : named.vpn + named.npages + GIB_PAGES;
    yield* readSmaps(this.mm);
    return Array.from(this.mm.vmas).filter((vma) => vma.start >= start && vma.end <= end).map((vma) => ({ ...this.#describe(vma), ...smapsOf(vma) }));
  }

  #listVmas(): Answer[] {
    const areas = Array.from(this.mm.vmas).filter(({ start, end }) => start >= FIRST_VPN && end <= END_VPN);
    return areas.map((vma) => this.#describe(vma));
  }

  #describe({ start, end, flags, file, pgoff }: Vma): Answer {
    const area = { at: this.relative(start * 4096), len: hex((end - start) * 4096), perm: `${protString(flags)}${(flags & VM_MAYSHARE) === 0 ? 'p' : 's'}` };
    if (file === null || file.inode.name.startsWith('[')) return area;
    const { name } = file.inode;
    const deleted = 'unlinked' in file.inode && file.inode.unlinked === true ? ' (deleted)' : '';
    return { ...area, file: DAX_PLACES.get(name)?.node ?? `${name}${deleted}`, off: hex(pgoff * 4096) };
  }
}
