/**
 * Readers of memory traces: bytes in, records (page number << 2 | kind) out, no strings.
 *
 * Text: a newline stands after the last byte, so that no loop has to look where the bytes end; a line that it alone ends is not
 * whole, and left for the next call unless TRACE_LAST is set. Each reader takes whole lines (or ChampSim's records), as many as have
 * room, and stops before the first that is wrong. An access that crosses into a second page is two records.
 */
import {
  CHAMPSIM_RECORD, COST_FETCH, COST_LOAD, COST_STORE, PAGE_SHIFT, PAGE_SIZE, TRACE_BAD_ADDRESS, TRACE_BAD_BYTE, TRACE_BAD_CANONICAL, TRACE_BAD_KERNEL, TRACE_BAD_LA57,
  TRACE_BAD_LINE, TRACE_BAD_NULL, TRACE_BAD_RECORD, TRACE_BAD_SIZE, TRACE_CAPACITY, TRACE_COUNT, TRACE_DIGITS, TRACE_END, TRACE_ERROR, TRACE_ERROR_AT, TRACE_FLAGS, TRACE_IN, TRACE_LA57,
  TRACE_LAST, TRACE_LINES, TRACE_LOWEST, TRACE_NO_FETCH, TRACE_OUT, TRACE_SEEN, TRACE_SKIPPED, TRACE_USED,
} from '../src/abi';

const NEWLINE: u32 = 10;
const RETURN: u32 = 13;
const SPACE: u32 = 32;
const TAB: u32 = 9;
const COMMA: u32 = 44;
const HASH: u32 = 35;
const MODIFY: u32 = 3;
const NO_ACCESS: u32 = 4;
/** most digits of an address */
const DIGITS_MAX: u32 = 16;
const ACCESSES_A_RECORD: u32 = 7;

@inline
function isBlank(byte: u32): bool {
  return byte == SPACE || byte == TAB;
}

/** What the first two bytes of a line of lackey say: COST_FETCH, COST_LOAD, COST_STORE, MODIFY or NO_ACCESS. Selected, not branched for: nobody can guess it. */
@inline
function lackeyKind(bytes: u32): u32 {
  let kind = select<u32>(COST_FETCH, NO_ACCESS, bytes == 0x2049); // "I "
  kind = select<u32>(COST_LOAD, kind, bytes == 0x4c20); // " L"
  kind = select<u32>(COST_STORE, kind, bytes == 0x5320); // " S"
  return select<u32>(MODIFY, kind, bytes == 0x4d20); // " M"
}

/** Does a line begin as those that valgrind says besides: ==PID==, --PID--, SB of a superblock, nothing? */
@inline
function isAside(bytes: u32): bool {
  const first = bytes & 255;
  return first == NEWLINE || first == RETURN || bytes == 0x3d3d || bytes == 0x2d2d || bytes == 0x4253;
}

/** What is wrong with an address as a process's, TRACE_BAD_* or 0. */
@inline
function wrongAddress(addr: u64, flags: u32): u32 {
  const bits: u32 = flags & TRACE_LA57 ? 56 : 47;
  if (addr >> bits == 0) return addr < <u64>TRACE_LOWEST ? TRACE_BAD_NULL : 0;
  const high = <i64>addr >> bits;
  if (high == -1) return TRACE_BAD_KERNEL;
  return addr >> 56 == 0 ? TRACE_BAD_LA57 : <i64>addr >> 56 == -1 ? TRACE_BAD_KERNEL : TRACE_BAD_CANONICAL;
}

@inline
function begin(req: u32): void {
  store<u32>(req, 0, TRACE_ERROR);
  memory.fill(req + TRACE_SEEN, 0, 20);
}

@inline
function end(req: u32, at: u32, out: u32, lines: u32): void {
  store<u32>(req, at - load<u32>(req, TRACE_IN), TRACE_USED);
  store<u32>(req, (out - load<u32>(req, TRACE_OUT)) >> 3, TRACE_COUNT);
  store<u32>(req, lines, TRACE_LINES);
}

@inline
function bad(req: u32, error: u32, at: u32): void {
  store<u32>(req, error, TRACE_ERROR);
  store<u32>(req, at, TRACE_ERROR_AT);
}

@inline
function seen(req: u32, what: u32): void {
  const at = req + TRACE_SEEN + (what << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** Lines of valgrind's lackey: `I  04001090,3`, ` L 1ffeffe7e0,8`, ` S ...`, ` M ...`. Its own lines (==PID==, SB) and empty ones are skipped. */
export function readLackey(req: u32): void {
  readLines(req, true);
}

/** Lines of `ADDR r|w|x [BYTES]`, the address in hexadecimal; `#` begins a comment. */
export function readPlain(req: u32): void {
  readLines(req, false);
}

function readLines(req: u32, lackey: bool): void {
  begin(req);
  const stop = load<u32>(req, TRACE_END);
  const flags = load<u32>(req, TRACE_FLAGS);
  let out = load<u32>(req, TRACE_OUT);
  const outEnd = out + (load<u32>(req, TRACE_CAPACITY) << 3) - 16;
  let line = load<u32>(req, TRACE_IN);
  const worth = req + TRACE_DIGITS;
  let lines: u32 = 0;
  while (line < stop && out <= outEnd) {
    let at = line;
    let kind: u32 = 0;
    let aside = false;
    if (lackey) {
      const bytes: u32 = load<u16>(at);
      kind = lackeyKind(bytes);
      if (kind == NO_ACCESS) {
        aside = isAside(bytes);
        if (!aside) {
          fail(req, line, at, stop, flags, TRACE_BAD_LINE);
          break;
        }
      } else {
        at += 2;
        while (load<u8>(at) == <u8>SPACE) at++;
      }
    } else {
      while (isBlank(load<u8>(at))) at++;
      const first: u32 = load<u8>(at);
      aside = first == HASH || first == NEWLINE || first == RETURN;
      if (first == 48 && (load<u8>(at, 1) | 32) == 120) at += 2; // 0x
    }
    if (aside) {
      while (load<u8>(at) != <u8>NEWLINE) at++;
      if (at == stop && !(flags & TRACE_LAST)) break;
      store<u32>(req, load<u32>(req, TRACE_SKIPPED) + 1, TRACE_SKIPPED);
      line = at + 1;
      lines++;
      continue;
    }
    const digits = at;
    let addr: u64 = 0;
    for (let digit: u64 = load<u8>(worth + load<u8>(at)); digit < 16; digit = load<u8>(worth + load<u8>(at))) {
      addr = (addr << 4) | digit;
      at++;
    }
    let error: u32 = 0;
    let where = digits;
    if (at == digits) error = TRACE_BAD_LINE;
    else if (at - digits > DIGITS_MAX) error = leadingZeroes(digits, at) ? 0 : TRACE_BAD_ADDRESS;
    let size: u32 = 1;
    if (error == 0) {
      where = at;
      let hasSize = false;
      if (lackey) {
        hasSize = load<u8>(at) == <u8>COMMA;
        if (hasSize) at++;
        else error = TRACE_BAD_LINE;
      } else {
        while (isBlank(load<u8>(at)) || load<u8>(at) == <u8>COMMA) at++;
        const letter: u32 = load<u8>(at) | 32;
        if (at == where) error = TRACE_BAD_LINE;
        else if (letter == 114) kind = COST_LOAD; // r
        else if (letter == 119) kind = COST_STORE; // w
        else if (letter == 120) kind = COST_FETCH; // x
        else error = TRACE_BAD_LINE;
        where = at;
        if (error == 0) {
          at++;
          const gap = at;
          while (isBlank(load<u8>(at)) || load<u8>(at) == <u8>COMMA) at++;
          hasSize = at != gap && <u32>load<u8>(at) - 48 < 10;
        }
      }
      if (error == 0 && hasSize) {
        where = at;
        size = 0;
        for (let digit: u32 = <u32>load<u8>(at) - 48; digit < 10; digit = <u32>load<u8>(at) - 48) {
          size = min(size * 10 + digit, PAGE_SIZE + 1);
          at++;
        }
        if (at == where) error = TRACE_BAD_LINE;
        else if (size == 0 || size > <u32>PAGE_SIZE) error = TRACE_BAD_SIZE;
      }
      if (error == 0) {
        while (isBlank(load<u8>(at)) || load<u8>(at) == <u8>RETURN) at++;
        if (load<u8>(at) != <u8>NEWLINE) {
          error = TRACE_BAD_LINE;
          where = at;
        } else {
          error = wrongAddress(addr, flags);
          if (error == 0 && (addr + size - 1) >> PAGE_SHIFT != addr >> PAGE_SHIFT) error = wrongAddress(addr + size - 1, flags);
          if (error != 0) where = digits;
        }
      }
    }
    if (error != 0) {
      fail(req, line, where, stop, flags, error);
      break;
    }
    if (at == stop && !(flags & TRACE_LAST)) break;
    line = at + 1;
    lines++;
    seen(req, kind);
    if (kind == MODIFY) kind = COST_STORE;
    if (kind == COST_FETCH && (flags & TRACE_NO_FETCH) != 0) continue;
    const page = addr >> PAGE_SHIFT;
    store<u64>(out, (page << 2) | kind);
    out += 8;
    const last = (addr + size - 1) >> PAGE_SHIFT;
    if (last != page) {
      store<u64>(out, (last << 2) | kind);
      out += 8;
    }
  }
  end(req, min(line, stop), out, lines);
}

/** More digits than an address has, all of the first of them 0? */
function leadingZeroes(from: u32, to: u32): bool {
  for (let at = from; at < to - DIGITS_MAX; at++) if (load<u8>(at) != 48) return false;
  return true;
}

/** A line is wrong, unless it only lacks its end so far. Bytes that no text has are told apart. */
function fail(req: u32, line: u32, where: u32, stop: u32, flags: u32, error: u32): void {
  let at = line;
  let binary: u32 = 0;
  for (; load<u8>(at) != <u8>NEWLINE; at++) {
    const byte: u32 = load<u8>(at);
    if (binary == 0 && (byte > 126 || (byte < 32 && byte != TAB && byte != RETURN))) binary = at;
  }
  if (binary != 0) bad(req, TRACE_BAD_BYTE, binary);
  else if (at != stop || (flags & TRACE_LAST) != 0) bad(req, error, where);
}

/**
 * ChampSim's records of an instruction: ip, is_branch, branch_taken, 2 + 4 registers, 2 addresses written, 4 read, 0 for none.
 * Reads come before writes.
 */
export function readChampsim(req: u32): void {
  begin(req);
  const stop = load<u32>(req, TRACE_END);
  const flags = load<u32>(req, TRACE_FLAGS);
  let out = load<u32>(req, TRACE_OUT);
  const outEnd = out + (load<u32>(req, TRACE_CAPACITY) << 3) - (ACCESSES_A_RECORD << 3);
  let at = load<u32>(req, TRACE_IN);
  let records: u32 = 0;
  while (at + CHAMPSIM_RECORD <= stop && out <= outEnd) {
    if (load<u8>(at, 8) > 1 || load<u8>(at, 9) > 1) {
      bad(req, TRACE_BAD_RECORD, at);
      break;
    }
    const ip = load<u64>(at);
    let error = wrongAddress(ip, flags);
    let where = at;
    for (let field: u32 = 16; field < 64 && error == 0; field += 8) {
      const addr = load<u64>(at + field);
      if (addr == 0) continue;
      where = at + field;
      error = wrongAddress(addr, flags);
    }
    if (error != 0) {
      bad(req, error, where);
      break;
    }
    seen(req, COST_FETCH);
    if (!(flags & TRACE_NO_FETCH)) {
      store<u64>(out, ((ip >> PAGE_SHIFT) << 2) | COST_FETCH);
      out += 8;
    }
    for (let field: u32 = 32; field < 64; field += 8) out = accessAt(req, out, load<u64>(at + field), COST_LOAD);
    for (let field: u32 = 16; field < 32; field += 8) out = accessAt(req, out, load<u64>(at + field), COST_STORE);
    at += CHAMPSIM_RECORD;
    records++;
  }
  end(req, at, out, records);
}

@inline
function accessAt(req: u32, out: u32, addr: u64, kind: u32): u32 {
  if (addr == 0) return out;
  seen(req, kind);
  store<u64>(out, ((addr >> PAGE_SHIFT) << 2) | kind);
  return out + 8;
}
