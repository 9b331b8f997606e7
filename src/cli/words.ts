/** Numbers for people. */
import { GiB, KiB, MiB } from '../units.ts';

export function bytesInWords(bytes: number): string {
  for (const [unit, name] of [[GiB, 'GiB'], [MiB, 'MiB'], [KiB, 'KiB']] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toPrecision(4))} ${name}`;
  }
  return `${bytes} bytes`;
}

export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
