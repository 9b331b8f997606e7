/**
 * A Worker on the owner's own thread: it reads as one of another thread would, and can be stopped wherever the owner could get ahead of
 * that one. So the races that threads have by chance are run one by one. One a machine.
 */
import { ABI_VERSION, HDR_GENERATION } from '../abi.ts';
import type { Mm } from '../mm/index.ts';
import type { Sleepable } from '../sched/index.ts';
import type { Pfn, Vpn } from '../units.ts';
import type { ShareHandle } from './handle.ts';
import { WorkerPlace } from './place.ts';
import { WorkerPlaces } from './places.ts';
import { TableReader } from './reader.ts';
import { SharedTables } from './tables.ts';

export class SteppedReader {
  readonly name: string;
  readonly mm: Mm;
  readonly #reader: TableReader;

  /** Throws what share() and attach() throw: EBUSY, ENOMEM. */
  constructor(name: string, mm: Mm) {
    const { arena, profile, ram, bugs } = mm.platform;
    const places = new WorkerPlaces(arena);
    places.grow(1);
    const entry = new SharedTables(arena).share(mm.name, 'process', mm.pageTable, mm.notifiers);
    const handle: ShareHandle = {
      kind: 'daxmirror share', abiVersion: ABI_VERSION, generation: Atomics.load(arena.i32, HDR_GENERATION >>> 2), memory: arena.memory, module: arena.module, workers: 1,
      constants: { devmapBit: profile.devmapBit, orderShift: profile.hmmOrderShift, zeroPfn: ram.zeroPfn }, skipsRetry: bugs.has('worker-skips-retry'), tables: [entry],
    };
    this.name = name;
    this.mm = mm;
    this.#reader = new TableReader(new WorkerPlace(handle, 0, 1000, arena.walker), entry);
  }

  /** The frame of page `vpn`, or -STOP_* that says why there is none: true when it is returned, with nothing of it being taken away. EFAULT: the process has exited. */
  *read(vpn: Vpn): Sleepable<Pfn> {
    const { mm } = this;
    const { sched, bus } = mm.platform;
    const touches = `${mm.touches},notifier ${mm.id}`;
    const settled = (): boolean => mm.notifiers.active === 0;
    for (;;) {
      if (sched.concurrent) yield sched.point(`${this.name} begins`, touches);
      if (!settled()) yield { kind: 'wait', what: `${this.name}: the invalidations of ${mm.name}`, touches, ready: settled, holder: () => null, deadlineNs: Infinity };
      const seq = this.#reader.begin();
      if (sched.concurrent) yield sched.point(`${this.name} reads`, touches);
      const pfn = this.#reader.translate(vpn, false);
      if (sched.concurrent) yield sched.point(`${this.name} asks whether it holds`, touches);
      if (this.#reader.retry(seq, vpn, vpn + 1)) continue;
      if (bus.on) bus.emit({ type: 'worker-took', worker: this.name, mm: mm.id, vpn, pfn });
      return pfn;
    }
  }
}
