#include "args.h"
#include <cmath>
#include <cstdio>

namespace daxmirror {

std::string hex(uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

View readView(const Napi::CallbackInfo& info, size_t index, const char* op) {
  napi_env env = info.Env();
  napi_value value = info[index];
  bool isTyped = false;
  napi_is_typedarray(env, value, &isTyped);
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  if (!isTyped || napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    throw Napi::TypeError::New(env, std::string(op) + ": memory is not a Uint8Array");
  }
  return {static_cast<uint8_t*>(data), length};
}

uint64_t readInteger(const Napi::CallbackInfo& info, size_t index, const char* op, const char* name) {
  if (!info[index].IsNumber()) throw Napi::TypeError::New(info.Env(), std::string(op) + ": " + name + " is not a number");
  double number = info[index].As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number < 9007199254740992.0) || number != std::floor(number)) {
    throw Napi::RangeError::New(info.Env(), std::string(op) + ": " + name + " " + std::to_string(number) + " is not an integer from 0 to 2^53 - 1");
  }
  return static_cast<uint64_t>(number);
}

bool readBoolean(const Napi::CallbackInfo& info, size_t index, const char* op, const char* name) {
  if (!info[index].IsBoolean()) throw Napi::TypeError::New(info.Env(), std::string(op) + ": " + name + " is not a boolean");
  return info[index].As<Napi::Boolean>().Value();
}

void fail(Napi::Env env, int error, const char* op, const std::string& detail) {
  Instance* instance = env.GetInstanceData<Instance>();
  if (instance->makeError.IsEmpty()) throw Napi::Error::New(env, std::string(op) + ": " + detail);
  Napi::Value made = instance->makeError.Call({Napi::Number::New(env, error), Napi::String::New(env, op), Napi::String::New(env, detail)});
  throw Napi::Error(env, made);
}

void checkInside(Napi::Env env, const View& view, uint64_t offset, uint64_t length, const char* op) {
  if (offset <= view.length && length <= view.length - offset) return;
  throw Napi::RangeError::New(env, std::string(op) + ": " + hex(offset) + " + " + hex(length) + " lies outside the memory of " + hex(view.length) + " bytes");
}

}  // namespace daxmirror
