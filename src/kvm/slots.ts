/**
 * Memory slots: which guest frames are which addresses of the process that runs the guest (include/linux/kvm_host.h:
 * struct kvm_memory_slot). Guest frame numbers and page numbers `[start, end)`.
 */
import { LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../abi.ts';
import { HmmError } from '../errno.ts';
import { alignDown, hex, pagesOfLevel, type Vpn } from '../units.ts';

export interface MemorySlot {
  readonly id: number;
  /** first guest frame */
  readonly gfn: number;
  readonly npages: number;
  /** page of the process that is guest frame `gfn` */
  readonly vpn: Vpn;
  /** guest pages written since the log was last taken, by place in the slot; null: not logged */
  dirty: Set<number> | null;
}

export class MemorySlots {
  readonly #slots = new Map<number, MemorySlot>();

  /** KVM_SET_USER_MEMORY_REGION of a new slot. EEXIST where its number is used or its frames overlap another's, EINVAL for none. */
  add(id: number, gfn: number, npages: number, vpn: Vpn): MemorySlot {
    if (npages <= 0) throw new HmmError('EINVAL', 'memory slot', `slot ${id} has no pages`);
    for (const other of this.#slots.values()) {
      if (other.id === id || (gfn < other.gfn + other.npages && other.gfn < gfn + npages)) {
        throw new HmmError('EEXIST', 'memory slot', `slot ${id} at frame ${hex(gfn)} meets slot ${other.id}`);
      }
    }
    const slot: MemorySlot = { id, gfn, npages, vpn, dirty: null };
    this.#slots.set(id, slot);
    return slot;
  }

  /** Takes a slot out. ENOENT. */
  remove(id: number): MemorySlot {
    const slot = this.get(id);
    this.#slots.delete(id);
    return slot;
  }

  get(id: number): MemorySlot {
    const slot = this.#slots.get(id);
    if (slot === undefined) throw new HmmError('ENOENT', 'memory slot', `no slot ${id}`);
    return slot;
  }

  /** The slot of a guest frame, or null. */
  at(gfn: number): MemorySlot | null {
    for (const slot of this.#slots.values()) if (gfn >= slot.gfn && gfn < slot.gfn + slot.npages) return slot;
    return null;
  }

  /** The guest frames `[start, end)` of each slot behind pages `[from, to)` of the process. */
  *behind(from: Vpn, to: Vpn): Generator<{ readonly slot: MemorySlot; readonly start: number; readonly end: number }> {
    for (const slot of this.#slots.values()) {
      const start = Math.max(from, slot.vpn);
      const end = Math.min(to, slot.vpn + slot.npages);
      if (start < end) yield { slot, start: slot.gfn + (start - slot.vpn), end: slot.gfn + (end - slot.vpn) };
    }
  }
}

/** The largest leaf that a slot allows around a guest frame: inside it, and frame and address alike in their low bits (kvm_lpage_info). */
export function slotLevel(slot: MemorySlot, gfn: number): number {
  if (slot.dirty !== null) return LEVEL_PTE;
  for (const level of [LEVEL_PUD, LEVEL_PMD]) {
    const npages = pagesOfLevel(level);
    const base = alignDown(gfn, npages);
    if (base >= slot.gfn && base + npages <= slot.gfn + slot.npages && (slot.vpn - slot.gfn) % npages === 0) return level;
  }
  return LEVEL_PTE;
}
