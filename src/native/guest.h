// Memory calls on the running kernel, in a child process.
#pragma once
#include "args.h"

namespace daxmirror {

void exportGuest(Napi::Env env, Napi::Object exports);

}  // namespace daxmirror
