// The guard against files that shrink while they are mapped.
//
// A load or store to a mapped page past the end of its file raises SIGBUS, which ends a process. With the guard the
// page is replaced by an anonymous zero page, its bit is set in the range's poison map, and the access goes on. This
// holds for every accessor alike: JavaScript views, WASM and the addon.
//
// Concurrency: ranges are added and removed by any thread; the handler reads them without locks. Nobody may touch the
// bytes of a range while it is being removed. The handler stays installed for the life of the process.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace daxmirror {

constexpr size_t kGuardRanges = 256;

// Installs the handler in front of the present one, once. False with errno set when the system refuses.
bool installSigbusGuard();

// Guards [start, end), page aligned. `poison` has one bit a page and outlives the range. -1 when all slots are taken.
int guardRange(uintptr_t start, uintptr_t end, std::atomic<uint64_t>* poison);

// After the return no handler looks at the range or its poison map any more.
void unguardRange(int slot);

// True where [start, end) meets a guarded range.
bool guardMeets(uintptr_t start, uintptr_t end);

}  // namespace daxmirror
