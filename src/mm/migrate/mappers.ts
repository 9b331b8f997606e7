/** Who may map a page (mm/rmap.c: rmap_walk), in the order in which a kernel's walk over the mappings comes by. */
import type { Platform } from '../../memremap/index.ts';
import type { Pfn } from '../../units.ts';
import { anonMappings, type AnonMapping } from '../anonVma.ts';

export function mappersOf(platform: Platform, pfn: Pfn): readonly AnonMapping[] {
  return anonMappings(platform, pfn);
}
