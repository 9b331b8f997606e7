#include "sigbus.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include <mutex>

namespace daxmirror {
namespace {

// `end` is written last and cleared first: a slot with a non-zero end is whole. `taken` belongs to the writers.
struct Slot {
  std::atomic<uintptr_t> start{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<std::atomic<uint64_t>*> poison{nullptr};
  bool taken = false;
};

static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<uint64_t>::is_always_lock_free,
              "the handler must not meet a lock");

Slot slots[kGuardRanges];
std::atomic<int> handling{0};
std::mutex writers;
struct sigaction previous;
uintptr_t pageSize;

// Async-signal-safe: atomics and one system call. True when the fault was ours and is mended.
bool mend(uintptr_t address) {
  for (Slot& slot : slots) {
    uintptr_t end = slot.end.load(std::memory_order_seq_cst);
    uintptr_t start = slot.start.load(std::memory_order_relaxed);
    if (end == 0 || address < start || address >= end) continue;
    uintptr_t page = address & ~(pageSize - 1);
    void* zero = mmap(reinterpret_cast<void*>(page), pageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zero == MAP_FAILED) return false;
    uintptr_t index = (page - start) / pageSize;
    slot.poison.load(std::memory_order_relaxed)[index / 64].fetch_or(uint64_t{1} << (index % 64), std::memory_order_relaxed);
    return true;
  }
  return false;
}

// A fault that is not ours belongs to whoever was there before: another handler (V8's trap handler, a crash reporter), or the
// default, which is put back so that the instruction, run again, ends the process as it would have without us.
void chain(int signal, siginfo_t* info, void* context) {
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(signal, info, context);
    return;
  }
  bool sent = info->si_code <= 0;  // by kill() and its like: nothing will run again and fault again
  if (previous.sa_handler == SIG_IGN && sent) return;
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  sigaction(signal, &fallback, nullptr);
  if (sent) raise(signal);  // blocked until we return
}

void onSigbus(int signal, siginfo_t* info, void* context) {
  int saved = errno;
  handling.fetch_add(1, std::memory_order_seq_cst);
  bool mended = info->si_code == BUS_ADRERR && mend(reinterpret_cast<uintptr_t>(info->si_addr));
  handling.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved;
  if (!mended) chain(signal, info, context);
}

}  // namespace

bool installSigbusGuard() {
  static bool installed = false;
  std::lock_guard<std::mutex> hold(writers);
  if (installed) return true;
  pageSize = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  // What was there is known before ours can run: a signal may arrive between the two calls.
  if (sigaction(SIGBUS, nullptr, &previous) != 0) return false;
  struct sigaction action = {};
  action.sa_sigaction = onSigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | (previous.sa_flags & SA_NODEFER);
  action.sa_mask = previous.sa_mask;
  installed = sigaction(SIGBUS, &action, nullptr) == 0;
  return installed;
}

int guardRange(uintptr_t start, uintptr_t end, std::atomic<uint64_t>* poison) {
  std::lock_guard<std::mutex> hold(writers);
  for (size_t i = 0; i < kGuardRanges; i++) {
    if (slots[i].taken) continue;
    slots[i].taken = true;
    slots[i].start.store(start, std::memory_order_relaxed);
    slots[i].poison.store(poison, std::memory_order_relaxed);
    slots[i].end.store(end, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

void unguardRange(int slot) {
  std::lock_guard<std::mutex> hold(writers);
  slots[slot].end.store(0, std::memory_order_seq_cst);
  while (handling.load(std::memory_order_seq_cst) != 0) sched_yield();
  slots[slot].taken = false;
}

bool guardMeets(uintptr_t start, uintptr_t end) {
  std::lock_guard<std::mutex> hold(writers);
  for (Slot& slot : slots) {
    if (slot.taken && slot.start.load(std::memory_order_relaxed) < end && start < slot.end.load(std::memory_order_relaxed)) return true;
  }
  return false;
}

}  // namespace daxmirror
