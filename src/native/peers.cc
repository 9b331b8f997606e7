// The peers as JavaScript functions, and the checks that let them run without any: every offset a walker uses lies inside the
// memory before it starts, and an entry leads to a table only inside the frames.
#include "peers/walkers.h"
#include "peers.h"
#include <errno.h>
#include <string.h>

namespace daxmirror {
namespace {

struct Peer {
  const char* name;
  WalkPeer walk;
  uint32_t modes;  // WALK_* bits it understands
};

constexpr uint32_t kWalkModes = abi::WALK_FAULT | abi::WALK_PER_PAGE | abi::WALK_ZERO_OK | abi::WALK_STOP_AT_HOLES;
constexpr uint32_t kAllModes = kWalkModes | abi::WALK_PGMAP | abi::WALK_NO_FILL;

const Peer kPlain = {"plain", walkPlain, kAllModes};
const Peer kAutovec = {"autovec", walkAutovec, kAllModes};
const Peer kHmm2019 = {"hmm2019", walkHmm2019, kWalkModes | abi::WALK_PGMAP};
const Peer kMainline = {"mainline", walkMainline, kWalkModes};
#if defined(__x86_64__)
const Peer kAvx2 = {"avx2", walkAvx2, kAllModes};
const Peer kAvx2Nt = {"avx2nt", walkAvx2Nt, kWalkModes | abi::WALK_PGMAP};
const Peer kAvx512 = {"avx512", walkAvx512, kAllModes};
#endif

template <class T>
T field(const View& view, uint64_t at) {
  T value;
  memcpy(&value, view.data + at, sizeof value);
  return value;
}

// HDR_FRAME_NEXT, once the arena is one and table frames end inside it.
uint32_t checkArena(Napi::Env env, const View& view, const char* op) {
  if (reinterpret_cast<uintptr_t>(view.data) % 8 != 0) fail(env, EINVAL, op, "memory is not aligned to 8 bytes");
  if (view.length < abi::FRAMES || field<uint32_t>(view, abi::HDR_MAGIC) != abi::ARENA_MAGIC) fail(env, EINVAL, op, "memory is no arena");
  uint32_t version = field<uint32_t>(view, abi::HDR_ABI_VERSION);
  if (version != abi::ABI_VERSION) fail(env, EINVAL, op, "the arena has ABI version " + std::to_string(version) + ", the addon " + std::to_string(abi::ABI_VERSION));
  uint32_t next = field<uint32_t>(view, abi::HDR_FRAME_NEXT);
  if (next > view.length || next % abi::PAGE_SIZE != 0) fail(env, EINVAL, op, "table frames end at " + hex(next));
  return next;
}

void checkSpace(Napi::Env env, uint32_t limit, uint64_t root, uint64_t levels, const char* op) {
  if (levels != 4 && levels != 5) fail(env, EINVAL, op, "levels " + std::to_string(levels) + " is neither 4 nor 5");
  if (root < abi::FRAMES || root >= limit || root % abi::PAGE_SIZE != 0) fail(env, EINVAL, op, "root " + hex(root) + " is no table frame");
}

// The offset of a checked request block with a checked space.
uint32_t requestArg(const Napi::CallbackInfo& info, const View& view, const char* op) {
  uint64_t request = readInteger(info, 1, op, "request");
  uint32_t limit = checkArena(info.Env(), view, op);
  if (request < abi::REQUESTS || request >= abi::FRAMES || (request - abi::REQUESTS) % abi::REQUEST_STRIDE != 0) {
    throw Napi::RangeError::New(info.Env(), std::string(op) + ": request " + hex(request) + " is no request block");
  }
  checkSpace(info.Env(), limit, field<uint32_t>(view, request + abi::REQ_ROOT), field<uint32_t>(view, request + abi::REQ_LEVELS), op);
  return static_cast<uint32_t>(request);
}

void checkWords(Napi::Env env, const View& view, uint64_t offset, uint64_t count, const char* op) {
  if (offset % 8 != 0) fail(env, EINVAL, op, "words at " + hex(offset) + " are not aligned");
  checkInside(env, view, offset, count * 8, op);
}

void checkWalk(Napi::Env env, const View& view, uint32_t request, const Peer& peer) {
  uint32_t mode = field<uint32_t>(view, request + abi::REQ_MODE);
  if (mode & ~peer.modes) fail(env, EOPNOTSUPP, peer.name, "walk mode " + hex(mode & ~peer.modes));
  if (field<uint32_t>(view, request + abi::REQ_BUDGET) != 0) fail(env, EOPNOTSUPP, peer.name, "a budget");
  double vpn = field<double>(view, request + abi::REQ_VPN);
  uint64_t npages = field<uint32_t>(view, request + abi::REQ_NPAGES);
  uint64_t pages = uint64_t{1} << (abi::TABLE_SHIFT * field<uint32_t>(view, request + abi::REQ_LEVELS));
  if (!(vpn >= 0 && vpn + static_cast<double>(npages) <= static_cast<double>(pages))) fail(env, EINVAL, peer.name, "the range leaves the address space");
  if (field<uint32_t>(view, request + abi::REQ_PFN_SHIFT) > 63 || field<uint32_t>(view, request + abi::REQ_ORDER_SHIFT) > 63) fail(env, EINVAL, peer.name, "a shift of more than 63");
  uint32_t pgmaps = field<uint32_t>(view, abi::HDR_PGMAP_COUNT);
  if (pgmaps > abi::PGMAP_MAX || field<uint32_t>(view, request + abi::REQ_PGMAP) > pgmaps) fail(env, EINVAL, peer.name, "REQ_PGMAP names no pagemap");
  if (!(mode & abi::WALK_NO_FILL) || (mode & abi::WALK_PER_PAGE)) checkWords(env, view, field<uint32_t>(view, request + abi::REQ_OUT), npages, peer.name);
}

uint32_t timesArg(const Napi::CallbackInfo& info, const char* op) {
  if (info.Length() < 3 || info[2].IsUndefined()) return 1;
  uint64_t times = readInteger(info, 2, op, "times");
  if (times == 0 || times > UINT32_MAX) throw Napi::RangeError::New(info.Env(), std::string(op) + ": times " + std::to_string(times) + " is not from 1 to 2^32 - 1");
  return static_cast<uint32_t>(times);
}

// (memory, request, times = 1) -> pages done
Napi::Value callWalk(const Napi::CallbackInfo& info) {
  const Peer& peer = *static_cast<const Peer*>(info.Data());
  View view = readView(info, 0, peer.name);
  uint32_t request = requestArg(info, view, peer.name);
  checkWalk(info.Env(), view, request, peer);
  uint32_t times = timesArg(info, peer.name);
  uint32_t done = 0;
  for (uint32_t i = 0; i < times; i++) done = peer.walk(view.data, request);
  return Napi::Number::New(info.Env(), done);
}

// (memory, request, times = 1) -> how many succeeded
Napi::Value callBatch(const Napi::CallbackInfo& info) {
  const char* op = "translateBatch";
  View view = readView(info, 0, op);
  uint32_t request = requestArg(info, view, op);
  uint32_t count = field<uint32_t>(view, request + abi::REQ_CAPACITY);
  checkWords(info.Env(), view, field<uint32_t>(view, request + abi::REQ_IN), count, op);
  checkWords(info.Env(), view, field<uint32_t>(view, request + abi::REQ_OUT), count, op);
  uint32_t times = timesArg(info, op), good = 0;
  for (uint32_t i = 0; i < times; i++) good = translateBatch(view.data, request);
  return Napi::Number::New(info.Env(), good);
}

struct Space {
  uint8_t* arena;
  uint32_t root, levels, access;
};

// The bare N-API call, without the C++ wrapper: the least that one address a call can cost.
napi_value callTranslate(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  size_t count = 1;
  void* data;
  double vpn = 0;
  napi_get_cb_info(env, info, &count, &argument, nullptr, &data);
  napi_get_value_double(env, argument, &vpn);
  const Space& space = *static_cast<Space*>(data);
  napi_create_double(env, translateOne(space.arena, space.root, space.levels, vpn, space.access), &result);
  return result;
}

// (memory, root, levels, access) -> (vpn) -> frame or -STOP_*
Napi::Value translator(const Napi::CallbackInfo& info) {
  const char* op = "translator";
  Napi::Env env = info.Env();
  View view = readView(info, 0, op);
  uint64_t root = readInteger(info, 1, op, "root"), levels = readInteger(info, 2, op, "levels"), access = readInteger(info, 3, op, "access");
  checkSpace(env, checkArena(env, view, op), root, levels, op);
  auto* space = new Space{view.data, static_cast<uint32_t>(root), static_cast<uint32_t>(levels), static_cast<uint32_t>(access & 3)};
  napi_value made;
  napi_create_function(env, op, NAPI_AUTO_LENGTH, callTranslate, space, &made);
  // The function holds the memory through a property, so that neither outlives its use.
  Napi::Function function(env, made);
  Napi::Object(env, made).DefineProperty(Napi::PropertyDescriptor::Value("memory", info[0], napi_enumerable));
  Napi::Object(env, made).AddFinalizer([](Napi::Env, Space* old) { delete old; }, space);
  return function;
}

// (memory, offset, length, byte)
void fillBytes(const Napi::CallbackInfo& info) {
  const char* op = "memset";
  View view = readView(info, 0, op);
  uint64_t offset = readInteger(info, 1, op, "offset"), length = readInteger(info, 2, op, "length"), byte = readInteger(info, 3, op, "byte");
  checkInside(info.Env(), view, offset, length, op);
  memset(view.data + offset, static_cast<int>(byte & 255), length);
}

void exportWalk(Napi::Env env, Napi::Object walks, const Peer& peer, bool runs) {
  walks[peer.name] = runs ? Napi::Value(Napi::Function::New(env, callWalk, peer.name, const_cast<Peer*>(&peer))) : env.Null();
}

}  // namespace

void exportPeers(Napi::Env env, Napi::Object exports) {
  Napi::Object walks = Napi::Object::New(env);
#if defined(__x86_64__)
  // The peers' own flags (x86-64-v3) let the compiler use these anywhere in them.
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
  bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  exportWalk(env, walks, kAvx2, v3);
  exportWalk(env, walks, kAvx2Nt, v3);
  exportWalk(env, walks, kAvx512, v4);
#else
  bool v3 = true;
  for (const char* name : {"avx2", "avx2nt", "avx512"}) walks[name] = env.Null();
#endif
  exportWalk(env, walks, kPlain, v3);
  exportWalk(env, walks, kAutovec, v3);
  exportWalk(env, walks, kHmm2019, true);
  exportWalk(env, walks, kMainline, true);
  exports["walks"] = walks;
  exports["translateBatch"] = v3 ? Napi::Value(Napi::Function::New(env, callBatch, "translateBatch")) : env.Null();
  exports["translator"] = v3 ? Napi::Value(Napi::Function::New(env, translator, "translator")) : env.Null();
  exports["memset"] = Napi::Function::New(env, fillBytes, "memset");
}

}  // namespace daxmirror
