// flush, adviseHuge, cpuTime, and /proc/self/pagemap as the only walk of the running kernel that a user can time.
// It does more than our walkers do (locks, page flags, a copy to user memory): a ratio against it says "than the
// interface a user has", not "than the kernel's hmm".
#include "host.h"
#include "flush.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <memory>

namespace daxmirror {
namespace {

constexpr size_t kHugeSize = 2 << 20;
constexpr size_t kHostPage = 4096;
constexpr size_t kAreaPages = 4;
constexpr size_t kBufferWords = 65536;  // 512 KiB, the window of the walk benches

// (memory, offset, length)
void flush(const Napi::CallbackInfo& info) {
  View view = readView(info, 0, "flush");
  uint64_t offset = readInteger(info, 1, "flush", "offset");
  uint64_t length = readInteger(info, 2, "flush", "length");
  checkInside(info.Env(), view, offset, length, "flush");
  if (!flushLines(view.data + offset, length)) fail(info.Env(), EOPNOTSUPP, "flush", "no cache line write-back is known for this CPU");
}

// (memory, offset, length) -> whether the kernel took the advice
Napi::Value adviseHuge(const Napi::CallbackInfo& info) {
  View view = readView(info, 0, "adviseHuge");
  uint64_t offset = readInteger(info, 1, "adviseHuge", "offset");
  uint64_t length = readInteger(info, 2, "adviseHuge", "length");
  checkInside(info.Env(), view, offset, length, "adviseHuge");
#ifdef MADV_HUGEPAGE
  uintptr_t start = (reinterpret_cast<uintptr_t>(view.data) + offset + kHostPage - 1) & ~(kHostPage - 1);
  uintptr_t end = (reinterpret_cast<uintptr_t>(view.data) + offset + length) & ~(kHostPage - 1);
  if (start < end) return Napi::Boolean::New(info.Env(), madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE) == 0);
#endif
  return Napi::Boolean::New(info.Env(), false);
}

// -> ns of CPU time of this thread
Napi::Value cpuTime(const Napi::CallbackInfo& info) {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return Napi::Number::New(info.Env(), static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec));
}

HostRegion* regionArg(const Napi::CallbackInfo& info, const char* op) {
  uint64_t handle = readInteger(info, 0, op, "handle");
  auto& regions = info.Env().GetInstanceData<Instance>()->regions;
  auto found = handle <= UINT32_MAX ? regions.find(static_cast<uint32_t>(handle)) : regions.end();
  if (found == regions.end()) fail(info.Env(), EBADF, op, "handle " + std::to_string(handle) + " is no region of this thread");
  return found->second;
}

// Reads the words of pages [0, npages) of the region. The count of those present, where `present` is asked for; -1 with errno set.
int64_t readPagemap(const HostRegion& region, size_t npages, bool present) {
  thread_local std::unique_ptr<uint64_t[]> words(new uint64_t[kBufferWords]);
  int64_t found = 0;
  for (size_t page = 0; page < npages;) {
    size_t count = std::min(npages - page, kBufferWords);
    off_t at = static_cast<off_t>((reinterpret_cast<uintptr_t>(region.start) / kHostPage + page) * 8);
    ssize_t got = pread(region.pagemap, words.get(), count * 8, at);
    if (got < 8) {
      if (got >= 0) errno = EIO;
      return -1;
    }
    count = static_cast<size_t>(got) / 8;
    for (size_t i = 0; present && i < count; i++) found += words[i] >> 63;
    page += count;
  }
  return found;
}

// Bytes of [start, end) that the kernel backs with huge pages, by /proc/self/smaps. 0 where it does not say.
uint64_t hugeBytes(const HostRegion& region) {
  FILE* smaps = fopen("/proc/self/smaps", "r");
  if (smaps == nullptr) return 0;
  uint64_t total = 0;
  bool inside = false;
  char line[512];
  while (fgets(line, sizeof line, smaps) != nullptr) {
    unsigned long from, to, kib;
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) inside = from >= reinterpret_cast<uintptr_t>(region.start) && to <= reinterpret_cast<uintptr_t>(region.start) + region.length;
    else if (inside && (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1 || sscanf(line, "Private_Hugetlb: %lu kB", &kib) == 1)) total += uint64_t{kib} * 1024;
  }
  fclose(smaps);
  return total;
}

// A guard page on either side keeps the region a mapping of its own, which smaps lists apart.
uint8_t* reserve(size_t length) {
  size_t whole = length + 2 * kHugeSize;
  void* at = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  uintptr_t base = reinterpret_cast<uintptr_t>(at);
  uintptr_t start = (base + kHugeSize) & ~(uintptr_t{kHugeSize} - 1);
  munmap(at, start - kHostPage - base);
  munmap(reinterpret_cast<void*>(start + length + kHostPage), base + whole - start - length - kHostPage);
  if (mprotect(reinterpret_cast<void*>(start), length, PROT_READ | PROT_WRITE) != 0) return nullptr;
  return reinterpret_cast<uint8_t*>(start);
}

uint32_t keep(Napi::Env env, std::unique_ptr<HostRegion> region) {
  Instance* instance = env.GetInstanceData<Instance>();
  uint32_t handle = instance->nextHandle++;
  instance->regions[handle] = region.release();
  return handle;
}

// Pages of a pool over a reserved region. Reserving takes them from the pool, so that no touch can fail.
bool mapHugetlb(const HostRegion& region) {
#ifdef MAP_HUGETLB
  return mmap(region.start, region.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0) != MAP_FAILED;
#else
  errno = EOPNOTSUPP;
  return false;
#endif
}

// (bytes, thp, hugetlb) -> { handle, npages, present, hugeBytes }
Napi::Value hostPagemap(const Napi::CallbackInfo& info) {
  const char* op = "hostPagemap";
  Napi::Env env = info.Env();
  uint64_t bytes = readInteger(info, 0, op, "bytes");
  bool thp = readBoolean(info, 1, op, "thp"), hugetlb = readBoolean(info, 2, op, "hugetlb");
  if (bytes == 0 || bytes % kHugeSize != 0) fail(env, EINVAL, op, "bytes " + hex(bytes) + " is no multiple of 2 MiB");
  auto region = std::make_unique<HostRegion>();
  region->length = bytes;
  region->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (region->pagemap < 0) fail(env, errno, op, "/proc/self/pagemap");
  region->start = reserve(bytes);
  if (region->start == nullptr) fail(env, errno, op, "mmap");
  if (hugetlb && !mapHugetlb(*region)) fail(env, errno, op, "mmap of huge pages: too few are reserved in /proc/sys/vm/nr_hugepages");
  if (!hugetlb) madvise(region->start, bytes, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);  // advice: `hugeBytes` says what came of it
  for (size_t at = 0; at < bytes; at += kHostPage) region->start[at] = 1;
  int64_t present = readPagemap(*region, bytes / kHostPage, true);
  if (present < 0) fail(env, errno, op, "pread of /proc/self/pagemap");
  Napi::Object made = Napi::Object::New(env);
  made["npages"] = Napi::Number::New(env, static_cast<double>(bytes / kHostPage));
  made["present"] = Napi::Number::New(env, static_cast<double>(present));
  made["hugeBytes"] = Napi::Number::New(env, static_cast<double>(hugeBytes(*region)));
  made["handle"] = Napi::Number::New(env, keep(env, std::move(region)));
  return made;
}

// (count) -> handle: areas of kAreaPages anonymous pages in a row, writable and read-only in turn, none touched.
Napi::Value hostAreas(const Napi::CallbackInfo& info) {
  const char* op = "hostAreas";
  Napi::Env env = info.Env();
  uint64_t count = readInteger(info, 0, op, "count");
  if (count < 2 || count > 1 << 20) fail(env, EINVAL, op, "count " + std::to_string(count) + " is not from 2 to 2^20");
  auto region = std::make_unique<HostRegion>();
  region->length = (count * kAreaPages * kHostPage + kHugeSize - 1) / kHugeSize * kHugeSize;
  region->start = reserve(region->length);
  if (region->start == nullptr) fail(env, errno, op, "mmap");
  for (uint64_t i = 1; i < count; i += 2) {
    if (mprotect(region->start + i * kAreaPages * kHostPage, kAreaPages * kHostPage, PROT_READ) != 0) fail(env, errno, op, "this process has no room for area " + std::to_string(i) + " (vm.max_map_count)");
  }
  region->areas = count;
  return Napi::Number::New(env, keep(env, std::move(region)));
}

// (handle, times): a page in the middle of the middle area loses its rights and gets them back: a split in three, and a merge.
void hostSplitMerge(const Napi::CallbackInfo& info) {
  const char* op = "hostSplitMerge";
  HostRegion* region = regionArg(info, op);
  uint64_t times = readInteger(info, 1, op, "times");
  if (region->areas == 0) fail(info.Env(), EINVAL, op, "the region has no areas");
  uint8_t* page = region->start + ((region->areas / 4 * 2) * kAreaPages + 1) * kHostPage;  // of a writable one
  for (uint64_t i = 0; i < times; i++) {
    if (mprotect(page, kHostPage, PROT_NONE) != 0 || mprotect(page, kHostPage, PROT_READ | PROT_WRITE) != 0) fail(info.Env(), errno, op, "mprotect");
  }
}

// (times): an area of its own is made where the kernel likes, and goes again.
void hostMmapMunmap(const Napi::CallbackInfo& info) {
  const char* op = "hostMmapMunmap";
  uint64_t times = readInteger(info, 0, op, "times");
  for (uint64_t i = 0; i < times; i++) {
    void* at = mmap(nullptr, kAreaPages * kHostPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || munmap(at, kAreaPages * kHostPage) != 0) fail(info.Env(), errno, op, "mmap");
  }
}

// (handle, npages) -> npages, once their words were read
Napi::Value hostPagemapRead(const Napi::CallbackInfo& info) {
  const char* op = "hostPagemapRead";
  HostRegion* region = regionArg(info, op);
  uint64_t npages = readInteger(info, 1, op, "npages");
  if (npages > region->length / kHostPage) fail(info.Env(), EINVAL, op, "npages " + std::to_string(npages) + " is more than the region has");
  if (readPagemap(*region, npages, false) < 0) fail(info.Env(), errno, op, "pread of /proc/self/pagemap");
  return info[1];
}

// (handle)
void hostPagemapFree(const Napi::CallbackInfo& info) {
  HostRegion* region = regionArg(info, "hostPagemapFree");
  info.Env().GetInstanceData<Instance>()->regions.erase(info[0].As<Napi::Number>().Uint32Value());
  delete region;
}

}  // namespace

HostRegion::~HostRegion() {
  if (start != nullptr) munmap(start - kHostPage, length + 2 * kHostPage);
  if (pagemap >= 0) close(pagemap);
}

void exportHost(Napi::Env env, Napi::Object exports) {
  exports["flush"] = Napi::Function::New(env, flush, "flush");
  exports["adviseHuge"] = Napi::Function::New(env, adviseHuge, "adviseHuge");
  exports["cpuTime"] = Napi::Function::New(env, cpuTime, "cpuTime");
  exports["hostPagemap"] = Napi::Function::New(env, hostPagemap, "hostPagemap");
  exports["hostPagemapRead"] = Napi::Function::New(env, hostPagemapRead, "hostPagemapRead");
  exports["hostAreas"] = Napi::Function::New(env, hostAreas, "hostAreas");
  exports["hostSplitMerge"] = Napi::Function::New(env, hostSplitMerge, "hostSplitMerge");
  exports["hostMmapMunmap"] = Napi::Function::New(env, hostMmapMunmap, "hostMmapMunmap");
  exports["hostPagemapFree"] = Napi::Function::New(env, hostPagemapFree, "hostPagemapFree");
}

}  // namespace daxmirror
