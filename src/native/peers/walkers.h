// The walkers that the WASM one is measured against. None of them knows N-API.
//
// A walker reads the request block of src/abi.ts at `request` and leaves the same words and answers there as the WASM
// walk(). Answers filled: STOP_VPN, STOP_END, STOP_ENTRY, STOP_REASON, STOP_LEVEL, STOP_SLOT, STOP_DONE and REQ_PGMAP;
// the counters and STOP_LAST are left alone.
// Modes: WALK_FAULT, WALK_PER_PAGE, WALK_PGMAP, WALK_ZERO_OK, WALK_STOP_AT_HOLES and, where noted, WALK_NO_FILL.
// No budget, no accessed bits: peers.cc refuses both, and checks every offset before a walker runs.
#pragma once
#include <abi.h>
#include <cstddef>
#include <cstdint>

namespace daxmirror {

using WalkPeer = uint32_t (*)(uint8_t* arena, uint32_t request);  // pages done

uint32_t walkPlain(uint8_t* arena, uint32_t request);     // NO_FILL too
uint32_t walkAutovec(uint8_t* arena, uint32_t request);   // NO_FILL too
uint32_t walkHmm2019(uint8_t* arena, uint32_t request);
uint32_t walkMainline(uint8_t* arena, uint32_t request);
#if defined(__x86_64__)
uint32_t walkAvx2(uint8_t* arena, uint32_t request);      // NO_FILL too
uint32_t walkAvx2Nt(uint8_t* arena, uint32_t request);    // streaming stores
uint32_t walkAvx512(uint8_t* arena, uint32_t request);    // NO_FILL too
#endif

// The frame of one page, or -STOP_*, as the WASM translate() gives it.
double translateOne(uint8_t* arena, uint32_t root, uint32_t levels, double vpn, uint32_t access);
// REQ_IN, REQ_OUT, REQ_CAPACITY, REQ_ACCESS as for the WASM translateBatch(). The count that succeeded.
uint32_t translateBatch(uint8_t* arena, uint32_t request);

}  // namespace daxmirror
