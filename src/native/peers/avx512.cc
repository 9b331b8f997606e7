// "avx512": the hand-written walk with 512-bit vectors. For information: no goal is set against it.
#include "simd.h"
#include <immintrin.h>

namespace daxmirror {
namespace {

struct V512 {
  using T = __m512i;
  static constexpr uint32_t lanes = 8;
  static T load(const uint64_t* at) { return _mm512_loadu_si512(at); }
  static void store(uint64_t* at, T v) { _mm512_storeu_si512(at, v); }
  static T splat(uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }
  static T ramp(uint64_t step) { return _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), splat(step)); }
  static T add(T a, T b) { return _mm512_add_epi64(a, b); }
  static T sub(T a, T b) { return _mm512_sub_epi64(a, b); }
  static T and_(T a, T b) { return _mm512_and_si512(a, b); }
  static T or_(T a, T b) { return _mm512_or_si512(a, b); }
  static bool meets(T a, T b) { return _mm512_test_epi64_mask(a, b) != 0; }
  template <uint32_t SHIFT>
  static T shr(T v) { return _mm512_srli_epi64(v, SHIFT); }
  static T where(T v, T bits, T then) { return _mm512_maskz_mov_epi64(_mm512_test_epi64_mask(v, bits), then); }
  static uint32_t skew(const uint64_t*) { return 0; }
};

}  // namespace

uint32_t walkAvx512(uint8_t* arena, uint32_t request) { return walkRange<Simd<V512>>(arena, request); }

}  // namespace daxmirror
