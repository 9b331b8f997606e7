/** What may be asked of a run, with defaults for what is left out. Everything that is not as it has to be is a RangeError that names it. */
import { checkOptions } from '../errno.ts';
import { PROFILES } from '../profile/index.ts';
import { nearest } from '../scenario/index.ts';
import { DEFAULT_MIX, type Mix } from './generate.ts';
import { FILE_BYTES_MAX, PLACES_MAX } from './log.ts';
import { ACCESSORS, CLASSIC_OPERATIONS, DEFAULT_LAYOUT, OWN_OPERATIONS, type Layout } from './operation.ts';
import { USUAL_CARE, type Care } from './scene.ts';

export function wholeLayout(given: Partial<Layout> = {}): Layout {
  checkOptions('runFsx layout', given, Object.keys(DEFAULT_LAYOUT));
  const layout = { ...DEFAULT_LAYOUT, ...given };
  oneOf('layout.fs', layout.fs, ['ext4', 'xfs', 'xfsn']);
  oneOf('layout.profile', layout.profile, Object.keys(PROFILES));
  oneOf('layout.page', layout.page, ['any', '4K']);
  oneOf('layout.power', layout.power, ['off', 'adr', 'eadr']);
  within('layout.fileBytes', layout.fileBytes, 1, FILE_BYTES_MAX);
  within('layout.processes', layout.processes, 1, PLACES_MAX);
  within('layout.files', layout.files, 1, PLACES_MAX);
  return layout;
}

export function wholeMix(given: Partial<Mix> = {}): Mix {
  checkOptions('runFsx mix', given, Object.keys(DEFAULT_MIX));
  const mix = { ...DEFAULT_MIX, ...given };
  if (typeof mix.seed !== 'bigint') throw new RangeError(`runFsx: mix.seed ${String(mix.seed)} is not a bigint`);
  oneOf('mix.accessor', mix.accessor, [...ACCESSORS, 'mixed']);
  within('mix.operationBytes', mix.operationBytes, 1, FILE_BYTES_MAX);
  for (const key of ['readBoundary', 'writeBoundary', 'truncateBoundary'] as const) within(`mix.${key}`, mix[key], 1, FILE_BYTES_MAX);
  for (const key of ['closeOpenEvery', 'besideEvery', 'cutEvery'] as const) within(`mix.${key}`, mix[key], 0, Number.MAX_SAFE_INTEGER);
  for (const name of mix.without) oneOf('mix.without', name, [...CLASSIC_OPERATIONS, ...OWN_OPERATIONS]);
  if (mix.fill !== null) within('mix.fill', mix.fill, 0, 255);
  oneOf('mix.start', mix.start, ['empty', 'reserved', 'whole']);
  oneOf('mix.syncEach', mix.syncEach, ['none', 'msync', 'fsync']);
  return mix;
}

export function wholeCare(given: Partial<Care> = {}): Care {
  checkOptions('runFsx care', given, Object.keys(USUAL_CARE));
  return { ...USUAL_CARE, ...given };
}

function oneOf(what: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) throw new RangeError(`runFsx: ${what}: unknown ${nearest(String(value), known)}; known: ${known.join(', ')}`);
}

function within(what: string, value: number, least: number, most: number): void {
  if (!(Number.isSafeInteger(value) && value >= least && value <= most)) throw new RangeError(`runFsx: ${what} ${value} is not a whole number from ${least} to ${most}`);
}
