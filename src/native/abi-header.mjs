/**
 * Writes abi.ts as a C++ header: `node abi-header.mjs ABI.ts OUT.h`.
 *
 * abi.ts is plain JavaScript, so it is imported as it stands and every exported number becomes a `constexpr` in
 * namespace `abi`: no macros, so names such as PAGE_SIZE cannot meet those of a system header.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const [, , source, out] = process.argv;
const abi = await import(`data:text/javascript,${encodeURIComponent(readFileSync(source, 'utf8'))}`);
const lines = Object.entries(abi).map(([name, value]) => {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`abi.ts: ${name} = ${value} has no C++ form`);
  const type = value > 0xffffffff ? 'uint64_t' : 'uint32_t';
  return `constexpr ${type} ${name} = 0x${value.toString(16)}u${value > 0xffffffff ? 'll' : ''};`;
});
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, `#pragma once\n#include <cstdint>\nnamespace abi {\n${lines.join('\n')}\n}\n`);
