// mapFile, unmapFile, syncFile, poisoned, mappedLength.
//
// A private mapping (MAP_PRIVATE, written pages are copies) never changes its file. A shared one is the file's page
// cache: every process sees stores at once, and they outlive this one; syncFile makes them outlive the machine.
// Only pages that hold bytes of the file are mapped: a page wholly past the end would fault at the first touch.
#include "mapping.h"
#include "sigbus.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

namespace daxmirror {
namespace {

uint64_t pageSize() {
  static const uint64_t size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

uint64_t roundUp(uint64_t value) { return (value + pageSize() - 1) & ~(pageSize() - 1); }

// An open file: ours to close when it came as a path.
struct File {
  int fd;
  bool owned;
  ~File() {
    if (owned && fd >= 0) close(fd);
  }
};

// EACCES at once where a shared mapping could not be written, rather than at the first store.
File openFile(const Napi::CallbackInfo& info, size_t index, bool shared, const char* op) {
  Napi::Env env = info.Env();
  if (info[index].IsNumber()) {
    int fd = static_cast<int>(readInteger(info, index, op, "file"));
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) fail(env, errno, op, "file descriptor " + std::to_string(fd));
    int mode = flags & O_ACCMODE;
    if (mode == O_WRONLY) fail(env, EACCES, op, "file descriptor " + std::to_string(fd) + " is not open for reading");
    if (shared && mode != O_RDWR) fail(env, EACCES, op, "a shared mapping needs file descriptor " + std::to_string(fd) + " open for reading and writing");
    return {fd, false};
  }
  if (!info[index].IsString()) throw Napi::TypeError::New(env, std::string(op) + ": file is neither a path nor a file descriptor");
  std::string path = info[index].As<Napi::String>().Utf8Value();
  if (path.find('\0') != std::string::npos) throw Napi::TypeError::New(env, std::string(op) + ": file holds a null byte");
  // O_NONBLOCK: opening a FIFO must not wait for its other end.
  int fd = open(path.c_str(), (shared ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(env, errno, op, "cannot open " + path + (shared ? " for reading and writing" : ""));
  return {fd, true};
}

// The bytes of the file from `fileOffset` on; throws for what cannot be mapped.
uint64_t bytesFrom(Napi::Env env, const File& file, uint64_t fileOffset, const char* op) {
  struct stat status;
  if (fstat(file.fd, &status) != 0) fail(env, errno, op, "fstat");
  if (S_ISDIR(status.st_mode)) fail(env, EISDIR, op, "file is a directory");
  if (!S_ISREG(status.st_mode)) fail(env, ENODEV, op, "file is no regular file");
  if (status.st_size == 0) fail(env, EINVAL, op, "file is empty");
  uint64_t size = static_cast<uint64_t>(status.st_size);
  if (fileOffset >= size) fail(env, EINVAL, op, "fileOffset " + hex(fileOffset) + " is not inside the file of " + hex(size) + " bytes");
  return size - fileOffset;
}

void checkPlace(Napi::Env env, const View& view, uint64_t offset, uint64_t length, uint64_t fileOffset, const char* op) {
  uint64_t mask = pageSize() - 1;
  if (length == 0) fail(env, EINVAL, op, "length is 0");
  if (offset & mask) fail(env, EINVAL, op, "offset " + hex(offset) + " is not page aligned");
  if (fileOffset & mask) fail(env, EINVAL, op, "fileOffset " + hex(fileOffset) + " is not page aligned");
  if (reinterpret_cast<uintptr_t>(view.data) & mask) fail(env, EINVAL, op, "memory does not begin at a page");
  if (offset > view.length || roundUp(length) > view.length - offset) {
    fail(env, EINVAL, op, hex(offset) + " + " + hex(length) + " lies outside the memory of " + hex(view.length) + " bytes");
  }
}

FileMapping* mappingArg(const Napi::CallbackInfo& info, const char* op) {
  uint64_t handle = readInteger(info, 0, op, "handle");
  auto& mappings = info.Env().GetInstanceData<Instance>()->mappings;
  auto found = handle <= UINT32_MAX ? mappings.find(static_cast<uint32_t>(handle)) : mappings.end();
  if (found == mappings.end()) fail(info.Env(), EBADF, op, "handle " + std::to_string(handle) + " is no mapping of this thread");
  return found->second;
}

// The file goes to a place of the kernel's choice first and is moved from there: mmap(MAP_FIXED) drops what it replaces
// before it asks the file system, and would leave a hole where that refuses. 0 or an errno; then nothing has changed.
int place(const FileMapping& mapping, int fd, off_t fileOffset) {
  int flags = mapping.shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;
  void* from = mmap(nullptr, mapping.length, PROT_READ | PROT_WRITE, flags, fd, fileOffset);
  if (from == MAP_FAILED) return errno;
  void* to = mremap(from, mapping.length, mapping.length, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(mapping.start));
  if (to != MAP_FAILED) return 0;
  int error = errno;
  munmap(from, mapping.length);
  return error;
}

// (memory, offset, length, file, fileOffset, shared) -> handle
Napi::Value mapFile(const Napi::CallbackInfo& info) {
  const char* op = "mapFile";
  Napi::Env env = info.Env();
  View view = readView(info, 0, op);
  uint64_t offset = readInteger(info, 1, op, "offset");
  uint64_t length = readInteger(info, 2, op, "length");
  uint64_t fileOffset = readInteger(info, 4, op, "fileOffset");
  bool shared = readBoolean(info, 5, op, "shared");
  checkPlace(env, view, offset, length, fileOffset, op);
  File file = openFile(info, 3, shared, op);
  uint64_t mapped = std::min(roundUp(length), roundUp(bytesFrom(env, file, fileOffset, op)));

  auto mapping = std::make_unique<FileMapping>();
  mapping->start = reinterpret_cast<uintptr_t>(view.data) + offset;
  mapping->length = mapped;
  mapping->shared = shared;
  uintptr_t end = mapping->start + mapped;
  if (guardMeets(mapping->start, end)) fail(env, EBUSY, op, "a file is mapped there already");
  mapping->poison.reset(new std::atomic<uint64_t>[mapped / pageSize() / 64 + 1]());
  if (!installSigbusGuard()) fail(env, errno, op, "sigaction");
  int slot = guardRange(mapping->start, end, mapping->poison.get());
  if (slot < 0) fail(env, ENOMEM, op, "more than " + std::to_string(kGuardRanges) + " files are mapped");
  mapping->slot = slot;
  if (int error = place(*mapping, file.fd, static_cast<off_t>(fileOffset)); error != 0) {
    unguardRange(slot);
    mapping->slot = -1;
    fail(env, error, op, "mmap");
  }
  mapping->memory = Napi::Persistent(info[0]);
  Instance* instance = env.GetInstanceData<Instance>();
  uint32_t handle = instance->nextHandle++;
  instance->mappings[handle] = mapping.release();
  return Napi::Number::New(env, handle);
}

// (handle)
void unmapFile(const Napi::CallbackInfo& info) {
  FileMapping* mapping = mappingArg(info, "unmapFile");
  if (!mapping->release()) fail(info.Env(), errno, "unmapFile", "mmap");
  info.Env().GetInstanceData<Instance>()->mappings.erase(info[0].As<Napi::Number>().Uint32Value());
  delete mapping;
}

// (handle, offset, length): offset and length in bytes of the mapping
void syncFile(const Napi::CallbackInfo& info) {
  const char* op = "syncFile";
  Napi::Env env = info.Env();
  FileMapping* mapping = mappingArg(info, op);
  uint64_t offset = readInteger(info, 1, op, "offset");
  uint64_t length = readInteger(info, 2, op, "length");
  if (!mapping->shared) fail(env, EINVAL, op, "a private mapping has nothing to write back");
  if (offset & (pageSize() - 1)) fail(env, EINVAL, op, "offset " + hex(offset) + " is not page aligned");
  if (offset > mapping->length || length > mapping->length - offset) fail(env, EINVAL, op, hex(offset) + " + " + hex(length) + " lies outside the mapping of " + hex(mapping->length) + " bytes");
  if (msync(reinterpret_cast<void*>(mapping->start + offset), length, MS_SYNC) != 0) fail(env, errno, op, "msync");
}

// (handle) -> page indexes, ascending
Napi::Value poisoned(const Napi::CallbackInfo& info) {
  FileMapping* mapping = mappingArg(info, "poisoned");
  Napi::Array pages = Napi::Array::New(info.Env());
  uint32_t count = 0;
  for (size_t word = 0; word <= mapping->length / pageSize() / 64; word++) {
    uint64_t bits = mapping->poison[word].load(std::memory_order_relaxed);
    for (; bits != 0; bits &= bits - 1) pages[count++] = Napi::Number::New(info.Env(), static_cast<double>(word * 64 + __builtin_ctzll(bits)));
  }
  return pages;
}

// (handle) -> bytes
Napi::Value mappedLength(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(mappingArg(info, "mappedLength")->length));
}

}  // namespace

bool FileMapping::release() {
  if (slot < 0) return true;
  void* at = mmap(reinterpret_cast<void*>(start), length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (at == MAP_FAILED) return false;
  unguardRange(slot);
  slot = -1;
  return true;
}

FileMapping::~FileMapping() { release(); }

void exportMapping(Napi::Env env, Napi::Object exports) {
  exports["mapFile"] = Napi::Function::New(env, mapFile, "mapFile");
  exports["unmapFile"] = Napi::Function::New(env, unmapFile, "unmapFile");
  exports["syncFile"] = Napi::Function::New(env, syncFile, "syncFile");
  exports["poisoned"] = Napi::Function::New(env, poisoned, "poisoned");
  exports["mappedLength"] = Napi::Function::New(env, mappedLength, "mappedLength");
}

}  // namespace daxmirror
