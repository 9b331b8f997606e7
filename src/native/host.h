// The host: its clock, its huge pages, and its kernel as a peer of the walkers.
#pragma once
#include "args.h"

namespace daxmirror {

// Anonymous memory of this process whose page tables the running kernel is asked to walk.
struct HostRegion {
  uint8_t* start = nullptr;
  size_t length = 0;
  int pagemap = -1;    // /proc/self/pagemap
  uint64_t areas = 0;  // of hostAreas
  ~HostRegion();
};

void exportHost(Napi::Env env, Napi::Object exports);

}  // namespace daxmirror
