// runMemoryOps: memory calls in a child process of its own, so that the running kernel can be compared with the model.
//
// The child inherits a process with threads, so it makes system calls and nothing else: no allocation, no lock. Memory is read and
// written through a pipe, where a bad address is EFAULT and no signal. Each step answers one "E errno" line, the lines
// of /proc/self/maps that lie in the area, and one "C" line: the first byte of each page, "--" where it cannot be read. The file that
// steps map is a memfd of its own, "vmas", kFilePages long and empty at first.
#include "guest.h"
#include <errno.h>
#include <string.h>
#include <string>
#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace daxmirror {
namespace {

#ifdef __linux__
constexpr size_t kPage = 4096;
constexpr size_t kWords = 6;  // of a step: call, page, npages, and three of its own
constexpr off_t kFilePages = 16;
constexpr unsigned kSecondsMax = 20;
enum Call { kMmap, kMunmap, kMprotect, kMremap, kMadvise, kStore, kFork, kMlock, kMunlock, kMsync, kTruncate, kPunch, kWrite };

struct Child {
  uint8_t* base;
  size_t npages;
  int out;
  int bytes[2];  // the pipe through which memory is read and written
  int file;      // what mmap steps without MAP_ANONYMOUS map
  char maps[1 << 18];
};

Child child;

void put(const char* text, size_t length) {
  while (length > 0) {
    ssize_t done = write(child.out, text, length);
    if (done <= 0) _exit(3);
    text += done;
    length -= static_cast<size_t>(done);
  }
}

void putErrno(int error) {
  char text[8] = "E 000\n";
  text[2] = static_cast<char>('0' + error / 100 % 10);
  text[3] = static_cast<char>('0' + error / 10 % 10);
  text[4] = static_cast<char>('0' + error % 10);
  put(text, 6);
}

uintptr_t leadingHex(const char* at) {
  uintptr_t value = 0;
  for (;; at++) {
    if (*at >= '0' && *at <= '9') value = value * 16 + static_cast<uintptr_t>(*at - '0');
    else if (*at >= 'a' && *at <= 'f') value = value * 16 + static_cast<uintptr_t>(*at - 'a' + 10);
    else return value;
  }
}

void putAreas() {
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) _exit(4);
  size_t length = 0;
  ssize_t got;
  while ((got = read(file, child.maps + length, sizeof child.maps - 1 - length)) > 0) length += static_cast<size_t>(got);
  close(file);
  if (length == sizeof child.maps - 1) _exit(5);
  child.maps[length] = 0;
  uintptr_t base = reinterpret_cast<uintptr_t>(child.base);
  for (char* line = child.maps; *line != 0;) {
    char* end = strchr(line, '\n');
    if (end == nullptr) break;
    uintptr_t start = leadingHex(line);
    if (start >= base && start < base + child.npages * kPage) put(line, static_cast<size_t>(end - line) + 1);
    line = end + 1;
  }
}

void putContents() {
  static const char kDigits[] = "0123456789abcdef";
  put("C", 1);
  for (size_t page = 0; page < child.npages; page++) {
    char text[3] = {' ', '-', '-'};
    uint8_t byte;
    if (write(child.bytes[1], child.base + page * kPage, 1) == 1) {
      if (read(child.bytes[0], &byte, 1) != 1) _exit(6);
      text[1] = kDigits[byte >> 4];
      text[2] = kDigits[byte & 15];
    }
    put(text, 3);
  }
  put("\n", 1);
}

// 0, or errno
int storeByte(uint8_t* at, uint8_t byte) {
  if (write(child.bytes[1], &byte, 1) != 1) _exit(6);
  if (read(child.bytes[0], at, 1) == 1) return 0;
  int error = errno;
  if (read(child.bytes[0], &byte, 1) != 1) _exit(6);
  return error;
}

int call(const int32_t* step) {
  uint8_t* at = child.base + static_cast<size_t>(step[1]) * kPage;
  size_t length = static_cast<size_t>(step[2]) * kPage;
  switch (step[0]) {
    case kMmap: return mmap(at, length, step[3], step[4], (step[4] & MAP_ANONYMOUS) != 0 ? -1 : child.file, step[5] * static_cast<off_t>(kPage)) == MAP_FAILED ? errno : 0;
    case kMunmap: return munmap(at, length) != 0 ? errno : 0;
    case kMprotect: return mprotect(at, length, step[3]) != 0 ? errno : 0;
    case kMremap: return mremap(at, length, static_cast<size_t>(step[3]) * kPage, step[4], child.base + static_cast<size_t>(step[5]) * kPage) == MAP_FAILED ? errno : 0;
    case kMadvise: return madvise(at, length, step[3]) != 0 ? errno : 0;
    case kStore: return storeByte(at, static_cast<uint8_t>(step[3]));
    case kMlock: return mlock(at, length) != 0 ? errno : 0;
    case kMunlock: return munlock(at, length) != 0 ? errno : 0;
    case kMsync: return msync(at, length, step[3]) != 0 ? errno : 0;
    case kTruncate: return ftruncate(child.file, static_cast<off_t>(length)) != 0 ? errno : 0;
    case kPunch: return fallocate(child.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, step[1] * static_cast<off_t>(kPage), static_cast<off_t>(length)) != 0 ? errno : 0;
    case kWrite: {
      uint8_t byte = static_cast<uint8_t>(step[3]);
      return pwrite(child.file, &byte, 1, step[1] * static_cast<off_t>(kPage)) == 1 ? 0 : errno;
    }
    default: return ENOSYS;
  }
}

void waitFor(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
}

// Runs the steps and ends. After a fork the child goes on; when it has ended, its parent tells how its own memory is.
[[noreturn]] void runSteps(const int32_t* steps, size_t count) {
  alarm(kSecondsMax);
  if (pipe(child.bytes) != 0) _exit(7);
  child.file = memfd_create("vmas", MFD_CLOEXEC);
  if (child.file < 0 || ftruncate(child.file, kFilePages * static_cast<off_t>(kPage)) != 0) _exit(8);
  putErrno(0);
  putAreas();
  for (size_t i = 0; i < count; i++) {
    const int32_t* step = steps + i * kWords;
    int error = 0;
    if (step[0] == kFork) {
      pid_t pid = fork();
      if (pid > 0) {
        waitFor(pid);
        putErrno(0);
        putAreas();
        putContents();
        _exit(0);
      }
      if (pid < 0) error = errno;
      else alarm(kSecondsMax);
    } else {
      error = call(step);
    }
    putErrno(error);
    putAreas();
    putContents();
  }
  _exit(0);
}
#endif

// (base, npages, steps: bytes of an Int32Array, six a step) -> what the child said
Napi::Value runMemoryOps(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
#ifdef __linux__
  uint64_t base = readInteger(info, 0, "runMemoryOps", "base");
  uint64_t npages = readInteger(info, 1, "runMemoryOps", "npages");
  View steps = readView(info, 2, "runMemoryOps");
  if (base % kPage != 0 || npages == 0 || npages > 4096) throw Napi::RangeError::New(env, "runMemoryOps: base is not page aligned, or npages is not 1 to 4096");
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) fail(env, EOPNOTSUPP, "runMemoryOps", "the running kernel has no pages of 4K");
  if (steps.length % (kWords * sizeof(int32_t)) != 0) throw Napi::RangeError::New(env, "runMemoryOps: steps are not six words each");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail(env, errno, "runMemoryOps", "pipe");
  pid_t pid = fork();
  if (pid < 0) {
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    fail(env, error, "runMemoryOps", "fork");
  }
  if (pid == 0) {
    child.base = reinterpret_cast<uint8_t*>(base);
    child.npages = npages;
    child.out = ends[1];
    close(ends[0]);
    runSteps(reinterpret_cast<const int32_t*>(steps.data), steps.length / (kWords * sizeof(int32_t)));
  }
  close(ends[1]);
  std::string said;
  char buffer[16384];
  ssize_t got;
  while ((got = read(ends[0], buffer, sizeof buffer)) > 0 || (got < 0 && errno == EINTR)) {
    if (got > 0) said.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  waitFor(pid);
  return Napi::String::New(env, said);
#else
  fail(env, ENOSYS, "runMemoryOps", "only Linux is asked");
#endif
}

}  // namespace

void exportGuest(Napi::Env env, Napi::Object exports) { exports["runMemoryOps"] = Napi::Function::New(env, runMemoryOps, "runMemoryOps"); }

}  // namespace daxmirror
