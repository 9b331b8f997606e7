// "plain": the walk as one writes it first. One branch a test, one store a page; whatever the compiler makes of it with -O3.
#include "walk.h"

namespace daxmirror {
namespace {

struct Plain {
  static uint32_t table(Walk& w, const uint64_t* ptes, uint32_t n) {
    uint64_t* out = w.word(w.vpn);
    for (uint32_t i = 0; i < n; i++) {
      uint64_t made;
      w.reason = w.answerPte(w.vpn + i, ptes[i], &made);
      if (w.reason != abi::STOP_DONE_ALL) return i;
      if (w.fill) out[i] = made;
    }
    return n;
  }
  static void leaf(Walk& w, uint64_t first, uint64_t step, uint64_t n) { plainLeaf(w, first, step, n); }
};

}  // namespace

uint32_t walkPlain(uint8_t* arena, uint32_t request) { return walkRange<Plain>(arena, request); }

}  // namespace daxmirror
