// Arguments in, errors out: the only place that knows how either crosses from and to JavaScript.
//
// Two kinds of error leave the addon. A wrong type or an impossible number is the caller's slip: TypeError or
// RangeError naming the argument and its value. What the system refuses, or what mmap's rules forbid, carries an errno and
// is built by the factory that load.ts hands in, so that C++ and TypeScript throw one class.
#pragma once
#include <napi.h>
#include <cstdint>
#include <map>
#include <string>

namespace daxmirror {

struct FileMapping;
struct HostRegion;

// What one environment (main thread or Worker) owns. Its destructor gives everything back.
struct Instance {
  Napi::FunctionReference makeError;  // (errno, op, detail) -> Error
  std::map<uint32_t, FileMapping*> mappings;
  std::map<uint32_t, HostRegion*> regions;
  uint32_t nextHandle = 1;
  ~Instance();
};

// The bytes of a Uint8Array, over an ArrayBuffer or a SharedArrayBuffer. Valid for the duration of the call.
struct View {
  uint8_t* data;
  size_t length;
};

View readView(const Napi::CallbackInfo& info, size_t index, const char* op);
// An integer in [0, 2^53): TypeError for what is no number, RangeError for other numbers.
uint64_t readInteger(const Napi::CallbackInfo& info, size_t index, const char* op, const char* name);
bool readBoolean(const Napi::CallbackInfo& info, size_t index, const char* op, const char* name);

[[noreturn]] void fail(Napi::Env env, int error, const char* op, const std::string& detail);
// RangeError unless [offset, offset + length) lies inside the view.
void checkInside(Napi::Env env, const View& view, uint64_t offset, uint64_t length, const char* op);
std::string hex(uint64_t value);

}  // namespace daxmirror
