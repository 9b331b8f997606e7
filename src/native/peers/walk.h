// What every native walker shares: the request as C++ values, the descent, the answer for one entry, the stop.
//
// The frame of a walk is `walkRange<Core>`: re-descend once a chunk (one page table, or one leaf above it), and let the core fill
// words. A core is `static uint32_t table(Walk&, const uint64_t* ptes, uint32_t n)`, which answers pages from w.vpn on and returns
// how many, short of n only at a stop with w.reason set, and `static void leaf(Walk&, uint64_t word, uint64_t n)`.
//
// Everything here has internal linkage: each walker is compiled with flags of its own, and one file's code must never
// be merged with another's.
#pragma once
#include "walkers.h"
#include <algorithm>
#include <cstring>

namespace daxmirror {
namespace {

using std::size_t;

// x86 sets A and D in an entry without P (erratum), so a none entry is one without any other bit.
constexpr uint64_t kNotNone = ~uint64_t{abi::PTE_ACCESSED | abi::PTE_DIRTY};

template <class T>
inline T load(const uint8_t* at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
inline void store(uint8_t* at, T value) {
  memcpy(at, &value, sizeof value);
}

// Where a descent ended: an entry that is no table, or the table of a pmd entry (level LEVEL_PTE, slot of the page's pte).
struct Place {
  uint32_t level;
  uint32_t slot;
  uint64_t entry;
  bool bad;  // a table entry whose frame lies outside the frames, or a leaf where none can be
};

struct Walk {
  uint8_t* arena;
  uint8_t* block;
  uint64_t vpn, start, end;
  uint64_t* out;  // word of page `start`
  uint32_t root, levels, limit;
  uint32_t mode, pfnShift, orderShift;
  uint64_t devmapBit, validWord, writeWord, noneWord;
  uint64_t reqFault, reqWrite, flagsMask, defaults, zeroPfn;
  uint32_t pgmap;  // index + 1 of the held one
  uint64_t pgmapBase = 0, pgmapEnd = 0;
  bool perPage, fill;
  bool asks, asksWrite;  // what REQ_DEFAULT alone asks for
  uint32_t reason = abi::STOP_DONE_ALL;

  Walk(uint8_t* arena_, uint32_t request) : arena(arena_), block(arena_ + request) {
    vpn = start = static_cast<uint64_t>(load<double>(block + abi::REQ_VPN));
    end = start + u32(abi::REQ_NPAGES);
    out = reinterpret_cast<uint64_t*>(arena + u32(abi::REQ_OUT));
    root = u32(abi::REQ_ROOT);
    levels = u32(abi::REQ_LEVELS);
    limit = load<uint32_t>(arena + abi::HDR_FRAME_NEXT);
    mode = u32(abi::REQ_MODE);
    pfnShift = u32(abi::REQ_PFN_SHIFT);
    orderShift = u32(abi::REQ_ORDER_SHIFT);
    uint32_t bit = u32(abi::REQ_DEVMAP_BIT);
    devmapBit = bit < 64 ? uint64_t{1} << bit : 0;
    validWord = u64(abi::REQ_VALID_WORD);
    writeWord = u64(abi::REQ_WRITE_WORD);
    noneWord = u64(abi::REQ_NONE_WORD);
    reqFault = u64(abi::REQ_REQ_FAULT);
    reqWrite = u64(abi::REQ_REQ_WRITE);
    flagsMask = u64(abi::REQ_FLAGS_MASK);
    defaults = u64(abi::REQ_DEFAULT);
    zeroPfn = static_cast<uint64_t>(load<double>(block + abi::REQ_ZERO_PFN));
    fill = !(mode & abi::WALK_NO_FILL);
    perPage = (mode & abi::WALK_FAULT) && (mode & abi::WALK_PER_PAGE);
    asks = asksWrite = false;
    merge(defaults);
    hold(u32(abi::REQ_PGMAP));
  }

  uint32_t u32(uint32_t field) const { return load<uint32_t>(block + field); }
  uint64_t u64(uint32_t field) const { return load<uint64_t>(block + field); }
  uint64_t* word(uint64_t page) const { return out + (page - start); }

  // Adds one page's request to what is asked for.
  void merge(uint64_t request) {
    if (!(mode & abi::WALK_FAULT) || !(request & reqFault)) return;
    asks = true;
    asksWrite |= (request & reqWrite) != 0;
  }

  // With requests a page: what [vpn, to) asks for together.
  void ask(uint64_t to) {
    if (!perPage) return;
    asks = asksWrite = false;
    for (uint64_t page = vpn; page < to; page++) merge((*word(page) & flagsMask) | defaults);
  }

  void hold(uint32_t held) {
    pgmap = held;
    pgmapBase = pgmapEnd = 0;
    if (held == 0) return;
    const uint8_t* entry = arena + abi::PGMAP_TABLE + (held - 1) * abi::PGMAP_STRIDE;
    pgmapBase = load<uint64_t>(entry + abi::PGMAP_BASE);
    pgmapEnd = load<uint64_t>(entry + abi::PGMAP_END);
  }

  // get_dev_pagemap(): the held one answers for its own range whatever became of it since; else a live one is looked up.
  bool pagemapLive(uint64_t address) {
    if (address >= pgmapBase && address < pgmapEnd) return true;
    hold(0);
    uint32_t low = 0, high = load<uint32_t>(arena + abi::HDR_PGMAP_COUNT);
    while (low < high) {
      uint32_t middle = (low + high) / 2;
      const uint8_t* entry = arena + abi::PGMAP_TABLE + middle * abi::PGMAP_STRIDE;
      if (address < load<uint64_t>(entry + abi::PGMAP_BASE)) high = middle;
      else if (address >= load<uint64_t>(entry + abi::PGMAP_END)) low = middle + 1;
      else {
        if (load<uint32_t>(entry + abi::PGMAP_STATE) != abi::PGMAP_LIVE) return false;
        hold(middle + 1);
        return true;
      }
    }
    return false;
  }

  uint64_t encode(uint64_t pfn, bool writable, uint32_t order) const {
    uint64_t made = (pfn << pfnShift) | validWord | (writable ? writeWord : 0);
    return orderShift != 0 ? made | uint64_t{order} << orderShift : made;
  }

  // True where no flag of a word meets a bit of the frame number, so that words of consecutive frames are `step` apart.
  bool disjoint(uint32_t order) const {
    uint64_t flags = validWord | writeWord | (orderShift != 0 ? uint64_t{order} << orderShift : 0);
    return (((abi::PTE_PFN_MASK >> abi::PAGE_SHIFT) << pfnShift) & flags) == 0;
  }

  // The one special page without a pagemap that may be an ordinary, read-only one.
  bool isZeroPage(uint64_t pte) const {
    return (mode & abi::WALK_ZERO_OK) && (pte & abi::PTE_PFN_MASK) >> abi::PAGE_SHIFT == zeroPfn;
  }

  // The answer for one pte under what is asked for: its word, or the reason to stop there.
  uint32_t answer(uint64_t pte, uint64_t* made) {
    if ((pte & kNotNone) == 0) {
      if (asks) return abi::STOP_NEEDS_FAULT;
      if (mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
      *made = noneWord;
      return abi::STOP_DONE_ALL;
    }
    if (!(pte & abi::PTE_PRESENT)) return abi::STOP_NONPRESENT;
    if (asksWrite && !(pte & abi::PTE_RW)) return abi::STOP_NEEDS_WRITE;
    uint64_t address = pte & abi::PTE_PFN_MASK;
    bool writable = (pte & abi::PTE_RW) != 0;
    if (pte & devmapBit) {
      if ((mode & abi::WALK_PGMAP) && !pagemapLive(address)) return abi::STOP_DYING;
    } else if (pte & abi::PTE_SPECIAL) {
      if (!isZeroPage(pte)) return abi::STOP_SPECIAL;
      if (asksWrite) return abi::STOP_NEEDS_WRITE;
      writable = false;
    }
    *made = encode(address >> abi::PAGE_SHIFT, writable, 0);
    return abi::STOP_DONE_ALL;
  }

  // The same for a pte of page `page`, with its own request where there is one.
  uint32_t answerPte(uint64_t page, uint64_t entry, uint64_t* made) {
    if (perPage) {
      asks = asksWrite = false;
      merge((*word(page) & flagsMask) | defaults);
    }
    return answer(entry, made);
  }

  Place descend() const {
    uint32_t table = root;
    for (uint32_t level = levels - 1;; level--) {
      uint32_t slot = table + static_cast<uint32_t>((vpn >> (abi::TABLE_SHIFT * level)) & (abi::TABLE_ENTRIES - 1)) * 8;
      uint64_t entry = load<uint64_t>(arena + slot);
      if (level == abi::LEVEL_PTE) return {level, slot, entry, false};
      bool upper = level > abi::LEVEL_PUD;  // where neither a leaf nor a swapped one can stand
      if (!(entry & abi::PTE_PRESENT)) return {level, slot, entry, upper && (entry & kNotNone) != 0};
      if (entry & abi::PTE_PSE) return {level, slot, entry, upper};
      uint64_t next = entry & abi::PTE_PFN_MASK;
      if (next < abi::FRAMES || next >= limit) return {level, slot, entry, true};
      table = static_cast<uint32_t>(next);
    }
  }

  // Writes the answers; `place` is where the walk stands, `to` the end of the chunk around w.vpn.
  uint32_t finish(const Place& place, uint64_t to) {
    store<double>(block + abi::STOP_VPN, static_cast<double>(vpn));
    store<double>(block + abi::STOP_END, static_cast<double>(to));
    store<uint64_t>(block + abi::STOP_ENTRY, place.entry);
    store<uint32_t>(block + abi::STOP_REASON, reason);
    store<uint32_t>(block + abi::STOP_LEVEL, place.level);
    store<uint32_t>(block + abi::STOP_SLOT, place.slot);
    uint32_t done = static_cast<uint32_t>(vpn - start);
    store<uint32_t>(block + abi::STOP_DONE, done);
    store<uint32_t>(block + abi::REQ_PGMAP, pgmap);
    return done;
  }
};

// Words of n pages from w.vpn on: first, first + step, ...
inline void plainLeaf(Walk& w, uint64_t first, uint64_t step, uint64_t n) {
  uint64_t* out = w.word(w.vpn);
  for (uint64_t i = 0; i < n; i++) out[i] = first + i * step;
}

// Frame of w.vpn under a leaf; bits below the leaf's size are no frame's (PAT).
inline uint64_t leafFrame(const Walk& w, const Place& place) {
  uint64_t below = (uint64_t{1} << (place.level * abi::TABLE_SHIFT)) - 1;
  return (((place.entry & abi::PTE_PFN_MASK) >> abi::PAGE_SHIFT) & ~below) + (w.vpn & below);
}

// Why a leaf above the pte level, taken as a whole, cannot be passed; STOP_DYING is found page by page.
inline uint32_t leafReason(const Walk& w, const Place& place) {
  if (w.asksWrite && !(place.entry & abi::PTE_RW)) return abi::STOP_NEEDS_WRITE;
  return (place.entry & abi::PTE_SPECIAL) && !(place.entry & w.devmapBit) ? abi::STOP_SPECIAL : abi::STOP_DONE_ALL;
}

// Words of pages [w.vpn, to) of a leaf, a piece for each pagemap under it (in practice one). Moves w.vpn on.
template <class Core>
inline uint32_t walkLeaf(Walk& w, const Place& place, uint64_t to) {
  uint32_t order = place.level * abi::TABLE_SHIFT;
  bool writable = (place.entry & abi::PTE_RW) != 0;
  bool pgmaps = (place.entry & w.devmapBit) && (w.mode & abi::WALK_PGMAP);
  bool disjoint = w.disjoint(order);
  while (w.vpn < to) {
    uint64_t pfn = leafFrame(w, place), n = to - w.vpn;
    if (pgmaps) {
      if (!w.pagemapLive(pfn << abi::PAGE_SHIFT)) return abi::STOP_DYING;
      n = std::min(n, (w.pgmapEnd - (pfn << abi::PAGE_SHIFT) + abi::PAGE_SIZE - 1) >> abi::PAGE_SHIFT);
    }
    if (w.fill && disjoint) Core::leaf(w, w.encode(pfn, writable, order), uint64_t{1} << w.pfnShift, n);
    for (uint64_t i = 0; w.fill && !disjoint && i < n; i++) *w.word(w.vpn + i) = w.encode(pfn + i, writable, order);
    w.vpn += n;
  }
  w.hold(0);
  return abi::STOP_DONE_ALL;
}

// One entry above the pte level: a hole, a leaf, or a stop. Moves w.vpn on.
template <class Core>
inline uint32_t walkEntry(Walk& w, const Place& place, uint64_t to) {
  w.ask(to);
  if (place.bad) return abi::STOP_BAD;
  if ((place.entry & kNotNone) == 0) {
    if (w.asks) return abi::STOP_NEEDS_FAULT;
    if (w.mode & abi::WALK_STOP_AT_HOLES) return abi::STOP_HOLE;
    if (w.fill) Core::leaf(w, w.noneWord, 0, to - w.vpn);
    w.vpn = to;
    return abi::STOP_DONE_ALL;
  }
  if (!(place.entry & abi::PTE_PRESENT)) return abi::STOP_NONPRESENT;
  uint32_t reason = leafReason(w, place);
  return reason != abi::STOP_DONE_ALL ? reason : walkLeaf<Core>(w, place, to);
}

template <class Core>
inline uint32_t walkRange(uint8_t* arena, uint32_t request) {
  Walk w(arena, request);
  Place place = {};
  while (w.vpn < w.end) {
    place = w.descend();
    uint64_t span = uint64_t{1} << (abi::TABLE_SHIFT * std::max(place.level, abi::LEVEL_PMD));
    uint64_t to = std::min(w.end, (w.vpn | (span - 1)) + 1);
    if (place.level != abi::LEVEL_PTE) {
      w.reason = walkEntry<Core>(w, place, to);
      if (w.reason != abi::STOP_DONE_ALL) return w.finish(place, to);
      continue;
    }
    const uint64_t* ptes = reinterpret_cast<const uint64_t*>(arena + place.slot);
    uint32_t n = static_cast<uint32_t>(to - w.vpn);
    uint32_t done = Core::table(w, ptes, n);
    w.vpn += done;
    if (done < n) {
      place.slot += done * 8;
      place.entry = ptes[done];
      return w.finish(place, w.vpn + 1);
    }
    w.hold(0);
  }
  return w.finish({}, w.end);
}

}  // namespace
}  // namespace daxmirror
