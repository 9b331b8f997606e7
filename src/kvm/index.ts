/** The kvm room: the other secondary MMU, on classic notifiers with counters. */
export { MemorySlots, slotLevel, type MemorySlot } from './slots.ts';
export { Kvm, type KvmStats } from './vm.ts';
