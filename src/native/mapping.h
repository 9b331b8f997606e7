// Real files mapped over bytes of the arena.
#pragma once
#include "args.h"
#include <atomic>
#include <memory>

namespace daxmirror {

// One file over [start, start + length) of a view, page aligned. Its destructor puts zeroes there, never a hole: an
// unmapped hole could be taken by any other thread's mmap() while V8 still believes that it owns the address.
// The reference keeps the memory alive until then; collected under us, its addresses would belong to someone else.
struct FileMapping {
  uintptr_t start;
  size_t length;
  bool shared;
  int slot = -1;
  std::unique_ptr<std::atomic<uint64_t>[]> poison;
  Napi::Reference<Napi::Value> memory;
  ~FileMapping();
  // Back to anonymous zero memory. False with errno set when the system refuses; then nothing has changed.
  bool release();
};

void exportMapping(Napi::Env env, Napi::Object exports);

}  // namespace daxmirror
