// The optional addon: what WASM cannot do, and what it is measured against.
//
// It gets memory as a Uint8Array and numbers, and owns nothing of the model. load.ts describes every export.
#include <abi.h>
#include <napi.h>
#include "args.h"
#include "flush.h"
#include "guest.h"
#include "host.h"
#include "mapping.h"
#include "peers.h"

namespace daxmirror {

Instance::~Instance() {
  for (auto& entry : mappings) delete entry.second;
  for (auto& entry : regions) delete entry.second;
}

namespace {

// (factory): how errors that carry an errno are made from now on
void setErrors(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) throw Napi::TypeError::New(info.Env(), "setErrors: the factory is not a function");
  info.Env().GetInstanceData<Instance>()->makeError = Napi::Persistent(info[0].As<Napi::Function>());
}

Napi::Value abiVersion(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), abi::ABI_VERSION); }

Napi::Object start(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Instance);
  exports["abiVersion"] = Napi::Function::New(env, abiVersion, "abiVersion");
  exports["setErrors"] = Napi::Function::New(env, setErrors, "setErrors");
  const char* instruction = flushInstruction();
  exports["flushInstruction"] = instruction != nullptr ? Napi::Value(Napi::String::New(env, instruction)) : env.Null();
  exportMapping(env, exports);
  exportHost(env, exports);
  exportGuest(env, exports);
  exportPeers(env, exports);
  return exports;
}

NODE_API_MODULE(daxmirror, start)

}  // namespace
}  // namespace daxmirror
