// One address, and a batch of them, from page number to frame. The peers of the WASM translate() and translateBatch().
#include "walk.h"

namespace daxmirror {
namespace {

// A, and D for a write; a changed entry counts in HDR_TABLES_CHANGED.
void mark(uint8_t* arena, uint8_t* slot, uint64_t entry, bool write) {
  uint64_t marked = entry | abi::PTE_ACCESSED | (write ? abi::PTE_DIRTY : 0);
  if (marked == entry) return;
  store<uint64_t>(slot, marked);
  store<uint32_t>(arena + abi::HDR_TABLES_CHANGED, load<uint32_t>(arena + abi::HDR_TABLES_CHANGED) + 1);
}

inline double translate(uint8_t* arena, uint32_t limit, uint32_t root, uint32_t levels, uint64_t vpn, uint32_t access) {
  uint32_t table = root;
  for (uint32_t level = levels - 1;; level--) {
    uint8_t* slot = arena + table + ((vpn >> (abi::TABLE_SHIFT * level)) & (abi::TABLE_ENTRIES - 1)) * 8;
    uint64_t entry = load<uint64_t>(slot);
    if ((entry & kNotNone) == 0) return -static_cast<double>(abi::STOP_HOLE);
    bool upper = level > abi::LEVEL_PUD;
    if (!(entry & abi::PTE_PRESENT)) return -static_cast<double>(upper ? abi::STOP_BAD : abi::STOP_NONPRESENT);
    if (level == abi::LEVEL_PTE || (entry & abi::PTE_PSE)) {
      if (upper) return -static_cast<double>(abi::STOP_BAD);
      bool write = (access & abi::ACCESS_WRITE) != 0;
      if (write && !(entry & abi::PTE_RW)) return -static_cast<double>(abi::STOP_NEEDS_WRITE);
      if (access & abi::ACCESS_MARK) mark(arena, slot, entry, write);
      uint64_t below = (uint64_t{1} << (abi::TABLE_SHIFT * level)) - 1;
      return static_cast<double>((((entry & abi::PTE_PFN_MASK) >> abi::PAGE_SHIFT) & ~below) + (vpn & below));
    }
    uint64_t next = entry & abi::PTE_PFN_MASK;
    if (next < abi::FRAMES || next >= limit) return -static_cast<double>(abi::STOP_BAD);
    table = static_cast<uint32_t>(next);
  }
}

}  // namespace

double translateOne(uint8_t* arena, uint32_t root, uint32_t levels, double vpn, uint32_t access) {
  uint32_t limit = load<uint32_t>(arena + abi::HDR_FRAME_NEXT);
  return translate(arena, limit, root, levels, static_cast<uint64_t>(static_cast<int64_t>(vpn)), access);
}

uint32_t translateBatch(uint8_t* arena, uint32_t request) {
  const uint8_t* block = arena + request;
  uint32_t limit = load<uint32_t>(arena + abi::HDR_FRAME_NEXT);
  uint32_t root = load<uint32_t>(block + abi::REQ_ROOT), levels = load<uint32_t>(block + abi::REQ_LEVELS);
  uint32_t count = load<uint32_t>(block + abi::REQ_CAPACITY), access = load<uint32_t>(block + abi::REQ_ACCESS);
  const uint8_t* in = arena + load<uint32_t>(block + abi::REQ_IN);
  uint8_t* out = arena + load<uint32_t>(block + abi::REQ_OUT);
  uint32_t good = 0;
  for (uint32_t i = 0; i < count; i++) {
    double pfn = translate(arena, limit, root, levels, static_cast<uint64_t>(static_cast<int64_t>(load<double>(in + i * 8))), access);
    good += pfn >= 0;
    store<double>(out + i * 8, pfn);
  }
  return good;
}

}  // namespace daxmirror
