// The walkers and translators of peers/, exported: null where this CPU cannot run one.
#pragma once
#include "args.h"

namespace daxmirror {

void exportPeers(Napi::Env env, Napi::Object exports);

}  // namespace daxmirror
