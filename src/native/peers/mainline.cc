// "mainline": an imitation, in user space, of how today's hmm_range_fault() walks. Not kernel code, and no kernel code in it.
//
// Each pte has its needs worked out and one word written; leaves above are filled in a plain loop; no pagemap is ever
// looked at, so a request with WALK_PGMAP is refused. Locks, notifiers and faults are left out. Compiled as a kernel is:
// -O2, no vectors.
#include "walk.h"

namespace daxmirror {
namespace {

inline uint32_t needFault(const Walk& w, uint64_t word, bool valid, bool writable) {
  if (!(w.mode & abi::WALK_FAULT)) return 0;
  uint64_t request = (w.perPage ? word & w.flagsMask : 0) | w.defaults;
  if (!(request & w.reqFault)) return 0;
  if (!valid) return abi::STOP_NEEDS_FAULT;
  return (request & w.reqWrite) && !writable ? abi::STOP_NEEDS_WRITE : 0;
}

uint32_t rangeNeedFault(const Walk& w, uint64_t to, bool valid, bool writable) {
  if (!(w.mode & abi::WALK_FAULT) || (!w.perPage && !(w.defaults & w.reqFault))) return 0;
  for (uint64_t page = w.vpn; page < to; page++) {
    if (uint32_t need = needFault(w, *w.word(page), valid, writable)) return need;
  }
  return 0;
}

uint32_t handleAbsent(const Walk& w, uint64_t pte, uint64_t* word) {
  if (pte & kNotNone) return abi::STOP_NONPRESENT;
  if (needFault(w, *word, false, false)) return abi::STOP_NEEDS_FAULT;
  if (w.mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
  *word = w.noneWord;
  return abi::STOP_DONE_ALL;
}

uint32_t handlePte(const Walk& w, uint64_t pte, uint64_t* word) {
  if (!(pte & abi::PTE_PRESENT)) return handleAbsent(w, pte, word);
  bool writable = (pte & abi::PTE_RW) != 0;
  if (needFault(w, *word, true, writable)) return abi::STOP_NEEDS_WRITE;
  if ((pte & abi::PTE_SPECIAL) && !(pte & w.devmapBit)) {
    if (!w.isZeroPage(pte)) return abi::STOP_SPECIAL;
    writable = false;
    if (needFault(w, *word, true, writable)) return abi::STOP_NEEDS_WRITE;
  }
  *word = ((pte & abi::PTE_PFN_MASK) >> abi::PAGE_SHIFT << w.pfnShift) | w.validWord | (writable ? w.writeWord : 0);
  return abi::STOP_DONE_ALL;
}

uint32_t handleEntry(Walk& w, const Place& place, uint64_t to) {
  if (place.bad) return abi::STOP_BAD;
  uint32_t order = place.level * abi::TABLE_SHIFT;
  bool writable = (place.entry & abi::PTE_RW) != 0;
  if ((place.entry & kNotNone) == 0) {
    if (rangeNeedFault(w, to, false, false)) return abi::STOP_NEEDS_FAULT;
    if (w.mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
    for (; w.vpn < to; w.vpn++) *w.word(w.vpn) = w.noneWord;
    return abi::STOP_DONE_ALL;
  }
  if (!(place.entry & abi::PTE_PRESENT)) return abi::STOP_NONPRESENT;
  if (rangeNeedFault(w, to, true, writable)) return abi::STOP_NEEDS_WRITE;
  if ((place.entry & abi::PTE_SPECIAL) && !(place.entry & w.devmapBit)) return abi::STOP_SPECIAL;
  uint64_t flags = w.encode(0, writable, order);
  for (uint64_t pfn = leafFrame(w, place); w.vpn < to; w.vpn++, pfn++) *w.word(w.vpn) = pfn << w.pfnShift | flags;
  w.hold(0);
  return abi::STOP_DONE_ALL;
}

}  // namespace

uint32_t walkMainline(uint8_t* arena, uint32_t request) {
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
