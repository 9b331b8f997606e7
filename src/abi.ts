/**
 * The arena ABI: every offset, bit and code that TypeScript, AssemblyScript and C++ share, written once.
 *
 * Four readers: tsc, asc (`assembly/` imports this file), Node (the dialect is plain JavaScript once the
 * types it does not have are stripped) and the addon, which gets each constant as a define.
 * Dialect: `export const NAME = literal` or sums of earlier names; `+ - | <<` with results below 2^31;
 * wide masks as one literal, bits above 52 as bit numbers; no annotations, `as const`, enums, objects, bigints.
 * A test compiles this file with asc and compares every exported global with the value seen here.
 */
export const ABI_VERSION = 2;
export const ARENA_MAGIC = 0x4d524441; // "ADRM", little endian

// ── x86-64 paging ────────────────────────────────────────────────────────────────────────────────
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
export const TABLE_SHIFT = 9; // log2 of the entries in a table
export const TABLE_ENTRIES = 512;
// A level's entry maps 1 << (9 * level) pages. The top table of a 4-level space is LEVEL_P4D's, of a 5-level one LEVEL_PGD's.
export const LEVEL_PTE = 0;
export const LEVEL_PMD = 1;
export const LEVEL_PUD = 2;
export const LEVEL_P4D = 3;
export const LEVEL_PGD = 4;
export const PMD_PAGES = 512;
export const PUD_PAGES = 262144;

//  63 62..59 58 57 56..52 51 ............ 12 11 10  9  8  7  6  5  4  3  2  1  0
//  NX  pkey  s5 s4        |      pfn       | sd uw sp  G PSE D  A PCD PWT U RW P
export const PTE_PRESENT = 1;
export const PTE_RW = 1 << 1;
export const PTE_USER = 1 << 2;
export const PTE_ACCESSED = 1 << 5;
export const PTE_DIRTY = 1 << 6;
export const PTE_PSE = 1 << 7; // leaf above the pte level
export const PTE_PROTNONE = 1 << 8; // when P is clear: present but without access
export const PTE_SPECIAL = 1 << 9; // no struct page behind it, or (with DEVMAP) a dev_pagemap's
export const PTE_UFFD_WP = 1 << 10;
export const PTE_SOFT_DIRTY = 1 << 11;
export const PTE_NX_BIT = 63;
export const PTE_PFN_MASK = 0x000ffffffffff000;
export const DEVMAP_BIT_NONE = 64; // value of REQ_DEVMAP_BIT in profiles whose entries have no such bit

// ── The arena, in address order: null guard, control, table frames growing up, blocks growing down ─
export const NULL_GUARD_SIZE = 65536;
export const HEADER = NULL_GUARD_SIZE;
export const HEADER_SIZE = 4096;
export const HDR_MAGIC = HEADER;
export const HDR_ABI_VERSION = HEADER + 4;
export const HDR_SEQUENCE = HEADER + 8; // u32, odd while the owner takes contents away or puts others in their place
export const HDR_FRAME_NEXT = HEADER + 16; // u32 offset: the first frame never handed out
export const HDR_FRAME_LIMIT = HEADER + 20; // u32 offset: where the blocks begin; frames end below
export const HDR_FRAME_FREE = HEADER + 24; // u32 offset: head of the list of freed frames, 0 = empty
export const HDR_FRAMES_USED = HEADER + 28; // u32 count
export const HDR_CLEAN_START = HEADER + 32; // u32 offset: [CLEAN_START, CLEAN_END) is known to be zero
export const HDR_CLEAN_END = HEADER + 36;
export const HDR_FAIL_AFTER = HEADER + 40; // u32: n > 0 lets n - 1 allocations pass and fails the next; 0 is off
export const HDR_DIRECTORY = HEADER + 44; // u32 offset: root node of the content directory, 0 = empty
export const HDR_PGMAP_COUNT = HEADER + 48; // u32
export const HDR_TABLES_CHANGED = HEADER + 52; // u32: entries written since the arena was made, mod 2^32
export const HDR_GENERATION = HEADER + 56; // u32: what a share handle is good for; another after each reset
export const HDR_DOORBELL = HEADER + 60; // u32: requests of Workers since the machine was made, mod 2^32; what the owner waits on
export const HDR_CLAIMS = HEADER + 64; // u32: Workers that have attached since then
export const HDR_SHARE_IDS = HEADER + 68; // u32: tables that were shared since the arena was made

// dev_pagemap ranges, sorted by base: what the walker needs to know of them.
export const PGMAP_TABLE = HEADER + HEADER_SIZE;
export const PGMAP_STRIDE = 32;
export const PGMAP_MAX = 1024;
export const PGMAP_BASE = 0; // u64 physical byte address
export const PGMAP_END = 8; // u64, exclusive
export const PGMAP_STATE = 16; // u32
export const PGMAP_ID = 20; // u32, from 1
export const PGMAP_LIVE = 1;
export const PGMAP_DYING = 2; // killed, draining or dead: get_dev_pagemap() fails

// One request block a worker: arguments in, answers out, and scratch that only the WASM uses.
export const REQUESTS = PGMAP_TABLE + 32768; // PGMAP_STRIDE * PGMAP_MAX
export const REQUEST_STRIDE = 512;
export const REQUEST_MAX = 64;
export const REQ_VPN = 0; // f64: first page
export const REQ_PFN = 8; // f64: first frame (map)
export const REQ_NPAGES = 16; // u32: 4 KiB pages
export const REQ_ROOT = 20; // u32: arena offset of the top table
export const REQ_LEVELS = 24; // u32: 4 or 5
export const REQ_OUT = 28; // u32: arena offset of the output words
export const REQ_CAPACITY = 32; // u32: records that fit at REQ_OUT (zap with WALK_COLLECT), page numbers of a batch
export const REQ_MODE = 36; // u32: WALK_* bits
export const REQ_BUDGET = 40; // u32: walk: ptes, and other chunks as one each, to look at before STOP_BUDGET (exact); 0 = no bound
export const REQ_DEVMAP_BIT = 44; // u32: 57, 58 or DEVMAP_BIT_NONE
export const REQ_PFN_SHIFT = 48; // u32: where the frame number stands in an output word
export const REQ_ORDER_SHIFT = 52; // u32: where the order (0, 9, 18) stands; 0 = no order
export const REQ_VALID_WORD = 56; // u64: or-ed into the word of a present page
export const REQ_WRITE_WORD = 64; // u64: or-ed too where the entry is writable
export const REQ_NONE_WORD = 72; // u64: the word of a hole
export const REQ_REQ_FAULT = 80; // u64: request bits that ask for a page
export const REQ_REQ_WRITE = 88; // u64: request bits that ask for write access
export const REQ_FLAGS_MASK = 96; // u64: pfn_flags_mask, which bits of an input word count
export const REQ_DEFAULT = 104; // u64: default_flags, or-ed to what is left of the input word
export const REQ_ZERO_PFN = 112; // f64: frame of the shared zero page; with WALK_ZERO_OK it counts as ordinary
export const REQ_PGMAP = 120; // u32, in and out: index + 1 of the pgmap the walk holds a reference on, 0 = none
export const REQ_LEVEL = 124; // u32: leaf level (map)
export const REQ_AND = 128; // u64: protect: entry & AND; install: where the frame number stands in a word
export const REQ_OR = 136; // u64: protect: | OR; map, install: flags of the leaves; harvest: A and/or D
export const REQ_OR_IF_DIRTY = 144; // u64: protect: | this where the entry is dirty
export const REQ_IN = 152; // u32: arena offset of input words (install, batch translate)
export const REQ_ACCESS = 156; // u32: ACCESS_* bits (translate)
// answers
export const STOP_VPN = 192; // f64: the page at which it stopped
export const STOP_END = 200; // f64: end of the chunk around it (one entry's worth, clipped to the range)
export const STOP_LAST = 208; // f64: end of the last chunk passed; of a hole above pte level, passed or not, its start
export const STOP_ENTRY = 216; // u64: the entry at which it stopped
export const STOP_REASON = 224; // u32: STOP_* below
export const STOP_LEVEL = 228; // u32: LEVEL_* of that entry
export const STOP_SLOT = 232; // u32: arena offset of that entry, 0 where there is no table for it
export const STOP_DONE = 236; // u32: pages answered (or mapped, or cleared)
export const STOP_STEPS = 240; // u32: entries looked at
export const STOP_LEAVES = 244; // u32[3]: leaves passed (or mapped, or installed), by level
export const STOP_CHANGED = 256; // u32: entries changed (protect, zap, harvest, install); of a collecting zap, records written
export const STOP_FREED = 260; // u32: table frames freed
// a Worker's block only: who has it, and its request to the owner
export const CALL_CLAIM = 264; // u32: 0 = free, else the id of its thread + CALL_CLAIM_BIAS
export const CALL_SERIAL = 268; // u32: HDR_CLAIMS when it was taken: nobody else ever had it
export const CALL_BUSY = 272; // u32: 1 while the Worker writes to the arena (its block, its window)
export const CALL_STATE = 276; // u32: CALL_IDLE ...; what the Worker waits on
export const CALL_SHARE = 280; // u32: which table (offset of its SHARE_ block)
export const CALL_FLAGS = 284; // u32: CALL_WRITE; answer: the errno, 0 = done
export const CALL_VPN = 288; // f64: first page; answer, as u64: the address the error is about, or all ones
export const CALL_NPAGES = 296; // f64; answer, as u32: bytes of text
export const CALL_READS = 304; // u32: translations, walks and reads made, mod 2^32
export const CALL_RETRIES = 308; // u32: of these, done again because the owner was faster
export const CALL_WINDOW = 312; // u32: arena offset of CALL_WINDOW_BYTES for the words of its walks
export const CALL_TEXT = 316; // u32: arena offset of CALL_TEXT_BYTES for what an error says
export const REQ_SCRATCH = 320; // to REQUEST_STRIDE: the WASM's own, what its loops keep in memory

export const CALL_CLAIM_BIAS = 2; // a thread whose id nobody knows is -1

// CALL_STATE
export const CALL_IDLE = 0;
export const CALL_POSTED = 1;
export const CALL_TAKEN = 2;
export const CALL_ANSWERED = 3;
export const CALL_WRITE = 1; // the pages are wanted writable
export const CALL_WINDOW_BYTES = 524288; // 65,536 words
export const CALL_TEXT_BYTES = 1024;

// Walk modes
export const WALK_FAULT = 1; // someone may ask for a page: holes are looked at with the requests
export const WALK_PER_PAGE = 2; // requests stand in the output words; without it REQ_DEFAULT alone counts
export const WALK_PGMAP = 4; // 2019: a devmap page needs a live dev_pagemap
export const WALK_ZERO_OK = 8; // the special zero page is an ordinary read-only page
export const WALK_NO_FILL = 16; // look, do not write words
export const WALK_ACCESSED = 32; // side effects: set A (and D where write was asked for)
export const WALK_STOP_AT_HOLES = 64; // stop at every hole, asked for or not
export const WALK_COLLECT = 128; // zap: write each cleared leaf to REQ_OUT in records of COLLECT_STRIDE
export const WALK_FREE_TABLES = 256; // zap: free tables that became empty

// zap with WALK_COLLECT writes records of this shape
export const COLLECT_STRIDE = 24;
export const COLLECT_VPN = 0; // f64
export const COLLECT_ENTRY = 8; // u64
export const COLLECT_LEVEL = 16; // u32

// Why a walk (map, zap, protect, harvest, install) ended
export const STOP_DONE_ALL = 0;
export const STOP_HOLE = 1; // none, with WALK_STOP_AT_HOLES, nobody asked for it
export const STOP_NEEDS_FAULT = 2; // none, and a page is asked for
export const STOP_NEEDS_WRITE = 3; // present, read only, and write is asked for
export const STOP_SPECIAL = 4; // present, special, not devmap, not an allowed zero page
export const STOP_NONPRESENT = 5; // neither present nor none: swap-like, PROT_NONE, migration
export const STOP_DYING = 6; // devmap, and its dev_pagemap is dying or unknown (WALK_PGMAP)
export const STOP_BAD = 7; // a table entry that is no table: present, no PSE above pte level where none can be, pfn outside the frames
export const STOP_BUDGET = 8;
export const STOP_NO_MEMORY = 9; // map, split: no table frame left
export const STOP_COLLISION = 10; // map: something is mapped there already
export const STOP_PARTIAL = 11; // zap, protect: the range cuts a leaf at STOP_VPN's level; split or drop it first
export const STOP_FULL = 12; // collect: REQ_CAPACITY reached

// translate(): bits of `access`; failures are returned as -STOP_*
export const ACCESS_READ = 0;
export const ACCESS_WRITE = 1;
export const ACCESS_MARK = 2; // set A, and D with ACCESS_WRITE

// ── Content directory: physical 2 MiB section -> bytes ───────────────────────────────────────────
// Three levels of 1024 u32, each node a table frame; a leaf word is 0 (never written: zeroes), or
// offset | CONTENT_LINEAR (2 MiB of arena bytes in a row), or offset | CONTENT_SPARSE (32 u32, one a 64 KiB chunk).
export const SECTION_SHIFT = 21;
export const SECTION_SIZE = 2097152;
export const CHUNK_SHIFT = 16;
export const CHUNK_SIZE = 65536;
export const CHUNKS_PER_SECTION = 32;
export const DIRECTORY_SHIFT = 10;
export const DIRECTORY_ENTRIES = 1024;
export const CONTENT_LINEAR = 1;
export const CONTENT_SPARSE = 2;
export const CONTENT_TAG_MASK = 3;

// ── Tables that Workers may walk: how far the owner is with them ─────────────────────────────────
export const SHARES = REQUESTS + 32768; // REQUEST_STRIDE * REQUEST_MAX
export const SHARE_STRIDE = 512;
export const SHARE_MAX = 64;
export const SHARE_SEQUENCE = 0; // u32: odd while more than one entry of the table changes, or a table of it goes
export const SHARE_ID = 4; // u32: 0 = free, else a number that no other table ever had
export const SHARE_STARTED = 8; // u32: invalidations of the space begun, mod 2^32
export const SHARE_ENDED = 12; // u32: and ended
export const SHARE_RING = 64; // the last SHARE_RING_MAX of them, that of number n (from 0) at n mod SHARE_RING_MAX: f64 first page, f64 end
export const SHARE_RING_MAX = 16;
export const SHARE_RING_STRIDE = 16;

// ── Modelled cost: TLBs and paging-structure caches of one CPU, a block of its own (src/costs lays it out) ─
// An access is a fetch (0), a load (1) or a store (2); records of a trace are u64: page number << 2 | kind.
export const COST_FETCH = 0;
export const COST_LOAD = 1;
export const COST_STORE = 2;
export const COST_KINDS = 3;
export const COST_ROOT = 0; // u32: top table
export const COST_LEVELS = 4; // u32
export const COST_PCID = 8; // u32, below 4096
export const COST_MARK = 12; // u32: a walk sets A, and D for a store
export const COST_HOST_REFS = 16; // u32: references of a cold walk of the host's tables, 0 = not nested
export const COST_HOST_LEVEL = 20; // u32: level of the host's leaves; LEVEL_PUD and more do not cut the guest's
export const COST_CACHE_COUNT = 24; // u32
export const COST_OUTCOME = 28; // i32: 0 L1 hit, 1 L2 hit, references << 2 | 2 of a walk, -STOP_* of a fault; of the last access that was not to the page used last
export const COST_CLOCK = 32; // u64: accesses that went past the last page, for the order of use
// counters, u64
export const COST_LOOKUPS = 40; // by kind
export const COST_L2_HITS = 64;
export const COST_WALKS = 72; // by level of the leaf
export const COST_REFS = 96; // of those walks
export const COST_SKIPS = 104; // walks begun by a paging-structure cache, by level of its entries, 1 to 4
export const COST_FAULTS = 136; // walks that ended in a fault
export const COST_FAULT_REFS = 144; // and their references
export const COST_COUNTERS_END = 152;
export const COST_RECORD = 152; // u64: of a single access
export const COST_LAST = 160; // 3 classes of kinds, COST_LAST_STRIDE each: the page used last
export const COST_LAST_STRIDE = 16;
export const COST_LAST_PAGE = 0; // u64: page number + 1, 0 = none, or not in an L1 TLB
export const COST_LAST_WRITABLE = 8; // u32
export const COST_CLASS = 208; // u32 by kind: arena offset of its COST_LAST
export const COST_STRUCTURES = 224; // u32[5] by level of the entries: arena offset of the paging-structure cache, 0 = none
// what is looked up: by kind, then L1 and L2: a count and up to seven of (cache, level)
export const COST_PROBES = 256;
export const COST_PROBES_STRIDE = 64;
export const COST_PROBES_MAX = 7;
// what is filled: by kind, then L1 and L2, then level of the leaf: (cache or 0, level of the entry)
export const COST_FILLS = 640; // COST_PROBES + 6 * COST_PROBES_STRIDE
export const COST_FILLS_STRIDE = 24;
export const COST_CACHES = 784; // COST_FILLS + 6 * COST_FILLS_STRIDE
export const COST_CACHE_STRIDE = 32;
export const COST_CACHES_MAX = 16;
export const COST_ENTRIES = 1344; // COST_CACHES + 16 * COST_CACHE_STRIDE, rounded up to 64
// a cache
export const CACHE_ENTRIES = 0; // u32: arena offset of its entries, set by set
export const CACHE_SET_MASK = 4; // u32: sets - 1
export const CACHE_WAYS = 8; // u32
export const CACHE_HINTS = 12; // u32: arena offset of the hints of a fully associative one, 0 = none
export const CACHE_STRUCTURE = 16; // u32: level of the entries of a paging-structure cache, 0 for a TLB
// an entry of a cache: its tag, and COST_CLOCK when it was used last; both 0: empty
//  63 .............. 18 17 16 15 .... 4 3  2 1 0
//  page number >> 9*lvl | lvl |  pcid  | leaf W V
export const CACHE_ENTRY_STRIDE = 16;
export const CACHE_ENTRY_USED = 8; // u64
export const TAG_VALID = 1;
export const TAG_WRITABLE = 2; // a store needs no walk
export const TAG_LEAF_SHIFT = 2; // level of the page that it is part of: above lvl where 1G pages are smashed
export const TAG_PCID_SHIFT = 4;
export const TAG_LEVEL_SHIFT = 16;
export const TAG_PAGE_SHIFT = 18;
// hints: 256 of (entries with this hash u8, way of the one found last u8)
export const CACHE_HINTS_SIZE = 512;

// ── Readers of memory traces: one request, and where they write records ──────────────────────────
export const TRACE_IN = 0; // u32: arena offset of the bytes; a newline stands after the last
export const TRACE_END = 4; // u32: arena offset of their end
export const TRACE_OUT = 8; // u32: arena offset of the records
export const TRACE_CAPACITY = 12; // u32: records that fit
export const TRACE_FLAGS = 16; // u32: TRACE_* bits
export const TRACE_USED = 20; // u32: bytes taken, whole lines or records of the trace
export const TRACE_COUNT = 24; // u32: records written
export const TRACE_LINES = 28; // u32: lines (or records of the trace) taken
export const TRACE_ERROR = 32; // u32: TRACE_BAD_*, 0 = none; the bad one was not taken
export const TRACE_ERROR_AT = 36; // u32: arena offset of what is bad
export const TRACE_SEEN = 40; // u32[4]: fetches, loads, stores, modifies taken
export const TRACE_SKIPPED = 56; // u32: lines without an access
export const TRACE_DIGITS = 64; // u8[256]: what each byte is worth as a hexadecimal digit, 16 and more for what is none
export const TRACE_REQUEST_SIZE = 320;
export const TRACE_NO_FETCH = 1;
export const TRACE_LA57 = 2;
export const TRACE_LAST = 4; // nothing follows: the last line may lack its newline
export const TRACE_BAD_LINE = 1;
export const TRACE_BAD_ADDRESS = 2; // more than 64 bits
export const TRACE_BAD_CANONICAL = 3;
export const TRACE_BAD_LA57 = 4; // needs five levels of page tables
export const TRACE_BAD_KERNEL = 5; // the kernel's half
export const TRACE_BAD_NULL = 6; // below what mmap gives out
export const TRACE_BAD_SIZE = 7;
export const TRACE_BAD_BYTE = 8; // no text
export const TRACE_BAD_RECORD = 9; // no ChampSim record
export const TRACE_LOWEST = 65536; // vm.mmap_min_addr
export const CHAMPSIM_RECORD = 64;

// ── Frames begin here ────────────────────────────────────────────────────────────────────────────
export const FRAMES = SHARES + 32768; // SHARE_STRIDE * SHARE_MAX
