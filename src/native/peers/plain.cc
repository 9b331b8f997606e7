// "plain": the walk as one writes it first, with care: one branch a test, one store a page, what does not change in locals, the rare
// cases in one call. Whatever the compiler makes of it with -O3.
#include "walk.h"

namespace daxmirror {
namespace {

struct Plain {
  static uint32_t table(Walk& w, const uint64_t* ptes, uint32_t n) {
    uint64_t* out = w.word(w.vpn);
    const uint64_t devmapBit = w.devmapBit, valid = w.validWord, write = w.writeWord;
    const uint64_t needed = abi::PTE_PRESENT | (w.asksWrite ? abi::PTE_RW : 0);
    const uint32_t shift = w.pfnShift;
    const bool pgmaps = w.mode & abi::WALK_PGMAP, perPage = w.perPage;
    uint64_t base = w.pgmapBase, size = w.pgmapEnd - base;
    for (uint32_t i = 0; i < n; i++) {
      const uint64_t pte = ptes[i], address = pte & abi::PTE_PFN_MASK;
      bool rare = (pte & needed) != needed || perPage;
      if (pte & devmapBit) rare |= pgmaps && address - base >= size;
      else rare |= (pte & abi::PTE_SPECIAL) != 0;
      if (!rare) {
        if (w.fill) out[i] = (address >> abi::PAGE_SHIFT << shift) | valid | (pte & abi::PTE_RW ? write : 0);
        continue;
      }
      uint64_t made;
      w.reason = w.answerPte(w.vpn + i, pte, &made);
      if (w.reason != abi::STOP_DONE_ALL) return i;
      if (w.fill) out[i] = made;
      base = w.pgmapBase;
      size = w.pgmapEnd - base;
    }
    return n;
  }
  static void leaf(Walk& w, uint64_t first, uint64_t step, uint64_t n) { plainLeaf(w, first, step, n); }
};

}  // namespace

uint32_t walkPlain(uint8_t* arena, uint32_t request) { return walkRange<Plain>(arena, request); }

}  // namespace daxmirror
