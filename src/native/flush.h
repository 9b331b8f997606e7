// Cache lines to the point of persistence, as a program on persistent memory does it instead of msync.
#pragma once
#include <cstddef>
#include <cstdint>

namespace daxmirror {

// The best instruction of this CPU: "clwb" (the line stays cached), "clflushopt", "clflush", or nullptr where we know none.
const char* flushInstruction();

// Writes back every line that [start, start + length) touches, then orders what follows after it. False without an instruction.
bool flushLines(const uint8_t* start, size_t length);

}  // namespace daxmirror
