// "autovec": plain C++ written so that the compiler can vectorise it. Blocks of 64 entries: one pass tests them all, one pass fills.
// Read-only and writable entries may mix in a block; anything else that differs is answered one by one.
#include "uniform.h"

namespace daxmirror {
namespace {

constexpr uint32_t kBlock = 64;

struct Autovec {
  static uint32_t table(Walk& w, const uint64_t* ptes, uint32_t n) {
    uint64_t* out = w.word(w.vpn);
    uint32_t i = 0;
    while (i < n) {
      uint32_t scalar = std::min(n - i, kBlock);
      uint64_t made;
      w.reason = w.answerPte(w.vpn + i, ptes[i], &made);
      if (w.reason != abi::STOP_DONE_ALL) return i;
      if (scalar == kBlock && block(w, ptes + i, out + i)) {
        i += kBlock;
        continue;
      }
      for (uint32_t to = i + scalar; i < to; i++) {
        w.reason = w.answerPte(w.vpn + i, ptes[i], &made);
        if (w.reason != abi::STOP_DONE_ALL) return i;
        if (w.fill) out[i] = made;
      }
    }
    return n;
  }

  // False, and nothing written, unless every entry is like the first, which was answered.
  static bool block(const Walk& w, const uint64_t* __restrict ptes, uint64_t* __restrict out) {
    uint64_t entry = ptes[0];
    if (w.perPage || !(entry & abi::PTE_PRESENT) || ((entry & abi::PTE_SPECIAL) && !(entry & w.devmapBit))) return false;
    const Uniform u = uniformFor(w, entry, !w.asksWrite);
    if (!u.usable) return false;
    uint64_t any = 0;
    for (uint32_t i = 0; i < kBlock; i++) any |= (ptes[i] & u.keep) - u.minus;
    if (any & u.bad) return false;
    if (!w.fill) return true;
    const uint32_t shift = abi::PAGE_SHIFT - w.pfnShift;
    const uint64_t write = w.asksWrite ? 0 : w.writeWord;
    for (uint32_t i = 0; i < kBlock; i++) {
      uint64_t d = (ptes[i] & u.keep) - u.minus;
      out[i] = (d >> shift) + u.plus + (ptes[i] & abi::PTE_RW ? write : 0);
    }
    return true;
  }

  static void leaf(Walk& w, uint64_t first, uint64_t step, uint64_t n) { plainLeaf(w, first, step, n); }
};

}  // namespace

uint32_t walkAutovec(uint8_t* arena, uint32_t request) { return walkRange<Autovec>(arena, request); }

}  // namespace daxmirror
