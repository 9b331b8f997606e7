/**
 * The words that a walk has to write: the first walker's are held against the frames mapped, everyone else's against the first walker's,
 * piece by piece, each over words that no walk leaves.
 */
import { LEVEL_PTE, STOP_DONE_ALL, WALK_NO_FILL, REQ_MODE } from '../../abi.ts';
import type { WalkEncoding } from '../../hmm/index.ts';
import { LEVEL_SIZES, PAGE_SIZES } from '../../units.ts';
import type { Ground } from '../ground.ts';
import { differingWord, wordOffPattern, type WordPattern } from '../verify.ts';
import { NONE, WRITABLE, type Layout } from './layout.ts';

export class Reference {
  readonly #ground: Ground;
  readonly #encoding: WalkEncoding;
  /** of one piece, by the first walker */
  readonly #words: Uint32Array;
  #isGood = false;

  constructor(ground: Ground, encoding: WalkEncoding) {
    this.#ground = ground;
    this.#encoding = encoding;
    this.#words = new Uint32Array(ground.window.halves.length);
  }

  /** Runs `walk` over all pieces of `ground` and compares. `requests`: what stands in the words before, where that matters. */
  check(ground: Ground, requests: BigUint64Array | null, walk: () => void, isFirst: boolean): string | null {
    if (!isFirst && !this.#isGood) return 'the walker it is held against was refused';
    const fills = ((ground.arena.u32[(ground.request + REQ_MODE) >>> 2] as number) & WALK_NO_FILL) === 0;
    for (let piece = 0; piece < ground.pieces; piece++) {
      if (!isFirst && fills) this.#walkFirst(piece, requests);
      const refusal = runPiece(ground, piece, requests, walk) ?? this.#compare(ground, piece, fills, isFirst);
      if (refusal !== null) return refusal;
    }
    if (isFirst) this.#isGood = true;
    return null;
  }

  /** The first walker's words of `piece`, over again: those of 1 TiB would take 2 GiB to keep. */
  #walkFirst(piece: number, requests: BigUint64Array | null): void {
    const ground = this.#ground;
    runPiece(ground, piece, requests, () => ground.arena.walker.walk(ground.request));
    this.#words.set(ground.window.halves);
  }

  #compare(ground: Ground, piece: number, fills: boolean, isFirst: boolean): string | null {
    const { halves } = ground.window;
    if (!fills) return halves.every((half) => half === halves[0]) ? null : 'writes words where none were asked for';
    const from = piece * ground.piecePages;
    if (!isFirst) {
      const at = differingWord(halves, this.#words);
      return at < 0 ? null : `differs at word ${from + at}`;
    }
    const off = ground.layout === null ? wordOffPattern(halves, this.#pattern(), from) : this.#offLayout(halves, ground.layout, from);
    return off < 0 ? null : `word ${from + off} is not that of the frame mapped there`;
  }

  /** Of a dense range: flags, and frames in a row. */
  #pattern(): WordPattern {
    const { valid, write, pfnShift } = this.#encoding;
    const ground = this.#ground;
    ground.table.look(ground.start);
    const flags = valid | write | this.#orderBits(ground.table.level);
    return { flagsLo: Number(flags & 0xffffffffn), flagsHi: Number(flags >> 32n), firstPfn: ground.firstPfn, pfnShift };
  }

  #orderBits(level: number): bigint {
    const { orderShift } = this.#encoding;
    return orderShift === 0 || level === LEVEL_PTE ? 0n : BigInt(PAGE_SIZES[LEVEL_SIZES[level] ?? '4K'].order) << BigInt(orderShift);
  }

  /** Index of the first word, counted from page `from` on, that is not what the layout has there; or -1. */
  #offLayout(halves: Uint32Array, { rights, level, device, page }: Layout, from: number): number {
    const { valid, write, none, pfnShift } = this.#encoding;
    for (let i = 0; i < halves.length / 2; i++) {
      const at = from + i;
      const frame = BigInt((this.#ground.devicePfns[device[at] as number] ?? 0) + (page[at] as number));
      const present = (frame << BigInt(pfnShift)) | valid | (rights[at] === WRITABLE ? write : 0n) | this.#orderBits(level[at] as number);
      const word = rights[at] === NONE ? none : present;
      if (halves[2 * i] !== Number(word & 0xffffffffn) || halves[2 * i + 1] !== Number(word >> 32n)) return i;
    }
    return -1;
  }
}

/** One piece, over poison or over the requests of its pages. What the answer lacks, or null. */
function runPiece(ground: Ground, piece: number, requests: BigUint64Array | null, walk: () => void): string | null {
  if (requests === null) ground.poison();
  else ground.window.words.set(requests);
  ground.askPiece(piece);
  walk();
  const { done, reason, vpn } = ground.answer;
  const isWhole = done === ground.piecePages && reason === STOP_DONE_ALL && vpn === ground.start + (piece + 1) * ground.piecePages;
  return isWhole ? null : `stops after ${done} pages of piece ${piece}`;
}
