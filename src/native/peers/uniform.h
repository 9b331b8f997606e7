// The test that a vector core makes of many entries at once.
//
// A template entry that was answered fixes K, the bits that decide an answer, and a window of frames [base, base + 2^bits)
// whose pagemap is held (all frames where no pagemap is asked for). Then for any other entry
//     d = (entry & keep) - (K | base)
// has bits outside [12, bits) exactly when its deciding bits differ or its frame leaves the window, so that one subtraction
// tests both; and its word is (d >> rsh) + C. Adding C is or-ing it: `usable` is false where C's flags meet the frame number.
#pragma once
#include "walk.h"

namespace daxmirror {
namespace {

struct Uniform {
  uint64_t keep, minus, bad, plus;
  bool usable;
};

constexpr uint64_t kDeciding = abi::PTE_PRESENT | abi::PTE_SPECIAL;
constexpr uint32_t kPfnTop = 52;  // the first bit above the frame number

// A window of 2^bits bytes inside [base, end) that holds `address`: one at the low end or one at the high end.
inline void windowAround(uint64_t base, uint64_t end, uint64_t address, uint64_t* from, uint32_t* bits) {
  *bits = 63 - static_cast<uint32_t>(__builtin_clzll(end - base));
  *from = address - base < uint64_t{1} << *bits ? base : end - (uint64_t{1} << *bits);
}

// For ptes like `entry`, which was answered, is present and is not the zero page. With `anyRw` the RW bit is not among what decides.
inline Uniform uniformFor(const Walk& w, uint64_t entry, bool anyRw) {
  uint64_t from = 0;
  uint32_t bits = kPfnTop;
  if ((entry & w.devmapBit) && (w.mode & abi::WALK_PGMAP)) windowAround(w.pgmapBase, w.pgmapEnd, entry & abi::PTE_PFN_MASK, &from, &bits);
  uint64_t deciding = kDeciding | w.devmapBit | (anyRw ? 0 : abi::PTE_RW);
  uint64_t flags = w.encode(0, !anyRw && (entry & abi::PTE_RW), 0);
  Uniform u;
  u.keep = abi::PTE_PFN_MASK | deciding;
  u.minus = (entry & deciding) | from;
  u.bad = ~((uint64_t{1} << bits) - 1) | (abi::PAGE_SIZE - 1);
  u.plus = (from >> abi::PAGE_SHIFT << w.pfnShift) + flags;
  u.usable = w.pfnShift <= abi::PAGE_SHIFT && bits > abi::PAGE_SHIFT && w.disjoint(0);
  return u;
}

}  // namespace
}  // namespace daxmirror
