// "avx2": the hand-written walk with 256-bit vectors, the bar that the WASM walker is measured against.
// "avx2nt": the same with streaming stores, which pay off where the output is far larger than the caches.
#include "simd.h"
#include <immintrin.h>

namespace daxmirror {
namespace {

struct V256 {
  using T = __m256i;
  static constexpr uint32_t lanes = 4;
  static T load(const uint64_t* at) { return _mm256_loadu_si256(reinterpret_cast<const T*>(at)); }
  static void store(uint64_t* at, T v) { _mm256_storeu_si256(reinterpret_cast<T*>(at), v); }
  static T splat(uint64_t value) { return _mm256_set1_epi64x(static_cast<long long>(value)); }
  static T ramp(uint64_t step) { return _mm256_set_epi64x(static_cast<long long>(3 * step), static_cast<long long>(2 * step), static_cast<long long>(step), 0); }
  static T add(T a, T b) { return _mm256_add_epi64(a, b); }
  static T sub(T a, T b) { return _mm256_sub_epi64(a, b); }
  static T and_(T a, T b) { return _mm256_and_si256(a, b); }
  static T or_(T a, T b) { return _mm256_or_si256(a, b); }
  static bool meets(T a, T b) { return !_mm256_testz_si256(a, b); }
  template <uint32_t SHIFT>
  static T shr(T v) { return _mm256_srli_epi64(v, SHIFT); }
  // `then` in the lanes that have all of `bits`, else 0
  static T where(T v, T bits, T then) { return and_(_mm256_cmpeq_epi64(and_(v, bits), bits), then); }
  static uint32_t skew(const uint64_t*) { return 0; }
};

struct V256Nt : V256 {
  static void store(uint64_t* at, T v) { _mm256_stream_si256(reinterpret_cast<T*>(at), v); }
  // words up to the next address that streaming stores accept
  static uint32_t skew(const uint64_t* at) { return static_cast<uint32_t>((0 - (reinterpret_cast<uintptr_t>(at) >> 3)) & 3); }
};

}  // namespace

uint32_t walkAvx2(uint8_t* arena, uint32_t request) { return walkRange<Simd<V256>>(arena, request); }

uint32_t walkAvx2Nt(uint8_t* arena, uint32_t request) {
  uint32_t done = walkRange<Simd<V256Nt>>(arena, request);
  _mm_sfence();
  return done;
}

}  // namespace daxmirror
