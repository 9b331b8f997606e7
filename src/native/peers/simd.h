// The hand-written walk over a vector type V: blocks of four vectors that are uniform, else that mix read-only and writable
// entries, else eight entries one by one, and again. The shift is a constant in the loops, as in the WASM walker.
#pragma once
#include "uniform.h"
#include <array>
#include <utility>

namespace daxmirror {
namespace {

using Core = uint32_t (*)(const Uniform& u, uint64_t write, const uint64_t* ptes, uint64_t* out, uint32_t n);

// Answers whole blocks from the start while they pass the test; returns how many entries.
template <class V, uint32_t SHIFT, bool MIXED, bool FILL>
uint32_t runBlocks(const Uniform& u, uint64_t write, const uint64_t* ptes, uint64_t* out, uint32_t n) {
  using T = typename V::T;
  constexpr uint32_t L = V::lanes;
  const T keep = V::splat(u.keep), minus = V::splat(u.minus), bad = V::splat(u.bad), plus = V::splat(u.plus);
  const T rw = V::splat(abi::PTE_RW), writable = V::splat(write);
  uint32_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    const T e0 = V::load(ptes + i), e1 = V::load(ptes + i + L), e2 = V::load(ptes + i + 2 * L), e3 = V::load(ptes + i + 3 * L);
    const T d0 = V::sub(V::and_(e0, keep), minus), d1 = V::sub(V::and_(e1, keep), minus);
    const T d2 = V::sub(V::and_(e2, keep), minus), d3 = V::sub(V::and_(e3, keep), minus);
    if (V::meets(V::or_(V::or_(d0, d1), V::or_(d2, d3)), bad)) break;
    if (!FILL) continue;
    T w0 = V::add(V::template shr<SHIFT>(d0), plus), w1 = V::add(V::template shr<SHIFT>(d1), plus);
    T w2 = V::add(V::template shr<SHIFT>(d2), plus), w3 = V::add(V::template shr<SHIFT>(d3), plus);
    if (MIXED) {
      w0 = V::add(w0, V::where(e0, rw, writable));
      w1 = V::add(w1, V::where(e1, rw, writable));
      w2 = V::add(w2, V::where(e2, rw, writable));
      w3 = V::add(w3, V::where(e3, rw, writable));
    }
    V::store(out + i, w0);
    V::store(out + i + L, w1);
    V::store(out + i + 2 * L, w2);
    V::store(out + i + 3 * L, w3);
  }
  return i;
}

template <class V, bool MIXED, bool FILL, size_t... SHIFT>
constexpr std::array<Core, sizeof...(SHIFT)> coresFor(std::index_sequence<SHIFT...>) {
  return {runBlocks<V, SHIFT, MIXED, FILL>...};
}

template <class V>
struct Simd {
  using Shifts = std::make_index_sequence<abi::PAGE_SHIFT + 1>;
  static constexpr uint32_t kScalar = 8;

  static Core coreFor(const Walk& w, bool mixed) {
    static constexpr auto uniformFill = coresFor<V, false, true>(Shifts{});
    static constexpr auto mixedFill = coresFor<V, true, true>(Shifts{});
    if (!w.fill) return runBlocks<V, 0, false, false>;
    return (mixed ? mixedFill : uniformFill)[abi::PAGE_SHIFT - w.pfnShift];
  }

  static uint32_t blocks(const Walk& w, uint64_t entry, bool mixed, const uint64_t* ptes, uint64_t* out, uint32_t n) {
    Uniform u = uniformFor(w, entry, mixed);
    return u.usable ? coreFor(w, mixed)(u, w.writeWord, ptes, out, n) : 0;
  }

  static uint32_t table(Walk& w, const uint64_t* ptes, uint32_t n) {
    uint64_t* out = w.word(w.vpn);
    uint32_t i = 0;
    while (i < n) {
      uint64_t entry = ptes[i], made;
      w.reason = w.answerPte(w.vpn + i, entry, &made);
      if (w.reason != abi::STOP_DONE_ALL) return i;
      uint32_t skew = V::skew(out + i);
      bool vectors = n - i >= 4 * V::lanes && skew == 0 && !w.perPage && (entry & abi::PTE_PRESENT) && (!(entry & abi::PTE_SPECIAL) || (entry & w.devmapBit));
      uint32_t done = vectors ? blocks(w, entry, false, ptes + i, out + i, n - i) : 0;
      if (vectors && done == 0 && !w.asksWrite) done = blocks(w, entry, true, ptes + i, out + i, n - i);
      i += done;
      if (done != 0) continue;
      for (uint32_t to = std::min(n, i + (skew != 0 ? skew : kScalar)); i < to; i++) {
        w.reason = w.answerPte(w.vpn + i, ptes[i], &made);
        if (w.reason != abi::STOP_DONE_ALL) return i;
        if (w.fill) out[i] = made;
      }
    }
    return n;
  }

  static void leaf(Walk& w, uint64_t first, uint64_t step, uint64_t n) {
    using T = typename V::T;
    constexpr uint32_t L = V::lanes;
    uint64_t* out = w.word(w.vpn);
    uint64_t i = 0;
    for (uint64_t head = std::min<uint64_t>(n, V::skew(out)); i < head; i++) out[i] = first + i * step;
    T v0 = V::add(V::splat(first + i * step), V::ramp(step));
    T v1 = V::add(v0, V::splat(L * step)), v2 = V::add(v0, V::splat(2 * L * step)), v3 = V::add(v0, V::splat(3 * L * step));
    const T stride = V::splat(4 * L * step);
    for (; i + 4 * L <= n; i += 4 * L) {
      V::store(out + i, v0);
      V::store(out + i + L, v1);
      V::store(out + i + 2 * L, v2);
      V::store(out + i + 3 * L, v3);
      v0 = V::add(v0, stride);
      v1 = V::add(v1, stride);
      v2 = V::add(v2, stride);
      v3 = V::add(v3, stride);
    }
    for (; i < n; i++) out[i] = first + i * step;
  }
};

}  // namespace
}  // namespace daxmirror
