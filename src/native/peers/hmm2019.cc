// "hmm2019": an imitation, in user space, of how the 2019 DAX patch to HMM walks. Not kernel code, and no kernel code in it.
//
// What is imitated is the shape that costs time: each page reads the caller's word, works out what is needed and, where it is a
// pagemap's, calls for that pagemap again, also for each 4 KiB page of a 2M or 1G leaf. With WALK_FAULT it is
// hmm_range_fault's walk, without it hmm_range_snapshot's. Left out: RCU, the xarray behind the look-up, locks, reference
// counts per CPU. Compiled as a kernel is: -O2, no vectors.
#include "walk.h"

namespace daxmirror {
namespace {

constexpr uint32_t kFault = 1;
constexpr uint32_t kWriteFault = 2;

// The kernel's stands in another file, so no compiler folds it into the loop.
__attribute__((noinline)) bool getDevPagemap(Walk& w, uint64_t address) { return w.pagemapLive(address); }

// What page's word and the range's defaults ask for, held against what the CPU's entry grants.
inline uint32_t pteNeedFault(const Walk& w, uint64_t word, bool valid, bool writable) {
  if (!(w.mode & abi::WALK_FAULT)) return 0;
  uint64_t request = (w.perPage ? word & w.flagsMask : 0) | w.defaults;
  if (!(request & w.reqFault)) return 0;
  if (!valid) return request & w.reqWrite ? kFault | kWriteFault : kFault;
  return (request & w.reqWrite) && !writable ? kFault | kWriteFault : 0;
}

uint32_t rangeNeedFault(const Walk& w, uint64_t to, bool valid, bool writable) {
  if (!(w.mode & abi::WALK_FAULT)) return 0;
  uint32_t need = 0;
  for (uint64_t page = w.vpn; page < to; page++) need |= pteNeedFault(w, *w.word(page), valid, writable);
  return need;
}

uint32_t handleAbsent(const Walk& w, uint64_t pte, uint64_t* word) {
  if (pte & kNotNone) return abi::STOP_NONPRESENT;
  if (pteNeedFault(w, *word, false, false)) return abi::STOP_NEEDS_FAULT;
  if (w.mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
  *word = w.noneWord;
  return abi::STOP_DONE_ALL;
}

uint32_t handlePte(Walk& w, uint64_t pte, uint64_t* word) {
  if (!(pte & abi::PTE_PRESENT)) return handleAbsent(w, pte, word);
  bool writable = (pte & abi::PTE_RW) != 0;
  if (pteNeedFault(w, *word, true, writable)) return abi::STOP_NEEDS_WRITE;
  uint64_t address = pte & abi::PTE_PFN_MASK;
  if (pte & w.devmapBit) {
    if ((w.mode & abi::WALK_PGMAP) && !getDevPagemap(w, address)) return abi::STOP_DYING;
  } else if (pte & abi::PTE_SPECIAL) {
    if (!w.isZeroPage(pte)) return abi::STOP_SPECIAL;
    writable = false;
    if (pteNeedFault(w, *word, true, writable)) return abi::STOP_NEEDS_WRITE;
  }
  *word = (address >> abi::PAGE_SHIFT << w.pfnShift) | w.validWord | (writable ? w.writeWord : 0);
  return abi::STOP_DONE_ALL;
}

uint32_t handleHole(Walk& w, uint64_t to) {
  if (rangeNeedFault(w, to, false, false)) return abi::STOP_NEEDS_FAULT;
  if (w.mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
  for (; w.vpn < to; w.vpn++) *w.word(w.vpn) = w.noneWord;
  return abi::STOP_DONE_ALL;
}

// A pmd or pud leaf: all its pages of the range, a pagemap look-up for each.
uint32_t handleHuge(Walk& w, const Place& place, uint64_t to) {
  bool writable = (place.entry & abi::PTE_RW) != 0;
  bool devmap = (place.entry & w.devmapBit) && (w.mode & abi::WALK_PGMAP);
  uint32_t order = place.level * abi::TABLE_SHIFT;
  if (rangeNeedFault(w, to, true, writable)) return abi::STOP_NEEDS_WRITE;
  if ((place.entry & abi::PTE_SPECIAL) && !(place.entry & w.devmapBit)) return abi::STOP_SPECIAL;
  for (uint64_t pfn = leafFrame(w, place); w.vpn < to; w.vpn++, pfn++) {
    if (devmap && !getDevPagemap(w, pfn << abi::PAGE_SHIFT)) return abi::STOP_DYING;
    *w.word(w.vpn) = w.encode(pfn, writable, order);
  }
  w.hold(0);
  return abi::STOP_DONE_ALL;
}

uint32_t handleEntry(Walk& w, const Place& place, uint64_t to) {
  if (place.bad) return abi::STOP_BAD;
  if ((place.entry & kNotNone) == 0) return handleHole(w, to);
  if (!(place.entry & abi::PTE_PRESENT)) return abi::STOP_NONPRESENT;
  return handleHuge(w, place, to);
}

}  // namespace

uint32_t walkHmm2019(uint8_t* arena, uint32_t request) {
  Walk w(arena, request);
  while (w.vpn < w.end) {
    Place place = w.descend();
    uint64_t span = uint64_t{1} << (abi::TABLE_SHIFT * std::max(place.level, abi::LEVEL_PMD));
    uint64_t to = std::min(w.end, (w.vpn | (span - 1)) + 1);
    if (place.level != abi::LEVEL_PTE) {
      w.reason = handleEntry(w, place, to);
      if (w.reason != abi::STOP_DONE_ALL) return w.finish(place, to);
      continue;
    }
    for (; w.vpn < to; w.vpn++, place.slot += 8) {
      place.entry = load<uint64_t>(arena + place.slot);
      w.reason = handlePte(w, place.entry, w.word(w.vpn));
      if (w.reason != abi::STOP_DONE_ALL) return w.finish(place, w.vpn + 1);
    }
    w.hold(0);
  }
  return w.finish({}, w.end);
}

}  // namespace daxmirror
