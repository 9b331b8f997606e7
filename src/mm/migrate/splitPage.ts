import type { Platform } from '../../memremap/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import type { Pfn } from '../../units.ts';
export function* splitHugePage(platform: Platform, head: Pfn, extra: number): Sleepable<boolean> {
  void platform; void head; void extra;
  return false;
}
