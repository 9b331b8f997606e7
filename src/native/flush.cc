#include "flush.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace daxmirror {
namespace {

constexpr uintptr_t kLine = 64;

// SFENCE orders clwb and clflushopt; clflush is ordered by itself.
template <class Flush>
void eachLine(const uint8_t* start, size_t length, Flush flush) {
  uintptr_t end = reinterpret_cast<uintptr_t>(start) + length;
  for (uintptr_t line = reinterpret_cast<uintptr_t>(start) & ~(kLine - 1); line < end; line += kLine) flush(reinterpret_cast<uint8_t*>(line));
  _mm_sfence();
}

enum Instruction { kClflush, kClflushopt, kClwb };

// CPUID leaf 7, EBX: bit 23 clflushopt, bit 24 clwb. Every x86-64 has clflush.
Instruction best() {
  unsigned eax, ebx = 0, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return kClflush;
  if (ebx & (1u << 24)) return kClwb;
  return ebx & (1u << 23) ? kClflushopt : kClflush;
}

Instruction instruction() {
  static const Instruction found = best();
  return found;
}

}  // namespace

const char* flushInstruction() {
  switch (instruction()) {
    case kClwb: return "clwb";
    case kClflushopt: return "clflushopt";
    default: return "clflush";
  }
}

bool flushLines(const uint8_t* start, size_t length) {
  switch (instruction()) {
    case kClwb:
      eachLine(start, length, [](uint8_t* line) { asm volatile("clwb %0" : "+m"(*line)); });
      return true;
    case kClflushopt:
      eachLine(start, length, [](uint8_t* line) { asm volatile("clflushopt %0" : "+m"(*line)); });
      return true;
    default:
      eachLine(start, length, [](uint8_t* line) { _mm_clflush(line); });
      return true;
  }
}

}  // namespace daxmirror

#else

namespace daxmirror {
const char* flushInstruction() { return nullptr; }
bool flushLines(const uint8_t*, size_t) { return false; }
}  // namespace daxmirror

#endif
