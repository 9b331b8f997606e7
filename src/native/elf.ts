/**
 * Whether the bytes of a shared library are whole: what dlopen() takes for granted, and dies of when a file is cut short.
 *
 *   ELF64 header: 4 class, 5 data, 0x12 machine u16, 0x20 phoff u64, 0x28 shoff u64, 0x36 phentsize, 0x38 phnum, 0x3a shentsize, 0x3c shnum
 *   program header: 0x08 offset u64, 0x20 filesz u64
 */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183 };

/** Null for a whole ELF64 file of this machine, or one sentence. Elsewhere than on Linux nothing is known: null. */
export function elfDefect(bytes: Uint8Array): string | null {
  if (process.platform !== 'linux') return null;
  if (bytes.length < 64) return 'is too short for a library';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return 'is no library';
  const machine = MACHINES[process.arch];
  if (machine !== undefined && view.getUint16(0x12, true) !== machine) return `is not for ${process.arch}`;
  const at = (offset: number): number => Number(view.getBigUint64(offset, true));
  const programs = at(0x20);
  const stride = view.getUint16(0x36, true);
  const count = view.getUint16(0x38, true);
  let end = Math.max(programs + stride * count, at(0x28) + view.getUint16(0x3a, true) * view.getUint16(0x3c, true));
  for (let i = 0; i < count && programs + (i + 1) * stride <= bytes.length; i++) {
    const header = programs + i * stride;
    end = Math.max(end, at(header + 0x08) + at(header + 0x20));
  }
  return end <= bytes.length && stride >= 56 ? null : 'is cut short';
}
