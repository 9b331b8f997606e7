/** Range walks on small ranges: every contender writes the words of the frames mapped, and one that does not is found out. */
import { describe, expect, it } from 'vitest';
import * as abi from '../../../dist/abi.js';
import { WALKS, walkName, walkWork, walkWorkloads, type WalkSpec } from '../../../dist/bench/hmm/walks.js';
import { LAYOUTS, NONE, READ_ONLY, layoutOf, requestWords, runsOf, type LayoutName } from '../../../dist/bench/hmm/layout.js';
import { comparedWith } from '../../../dist/bench/hmm/walkSpec.js';
import type { BenchContext, Contender, Work } from '../../../dist/bench/workload.js';
import type { Native, WalkPeer } from '../../../dist/native/load.js';
import { addon, withAddon } from '../native/addon.ts';

const compiled = withAddon(import.meta.url);
const NO_ADDON: BenchContext = { native: null, nativeReason: 'not built: npm run build:native' };
const MiB = 2 ** 20;

/** Each kind of walk there is, over 2 MiB in two pieces, or in one where pages ask. */
const SMALL: readonly WalkSpec[] = [...new Map(WALKS.map((spec): [string, WalkSpec] => {
  const small = { ...spec, range: 2 * MiB, window: spec.window === 0 ? 0 : spec.byPage === true ? 4096 : 2048 };
  return [walkName(small), small];
})).values()];

/** Where the frames of the only device begin: a machine's first stands at 1 TiB. */
const FIRST_PFN = 2 ** 28;
const VALID = 1n << 63n;
const WRITE = 1n << 62n;

function contender(work: Work, name: string): Contender {
  const found = work.contenders.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no contender ${name}`);
  return found;
}

/** The addon as far as a walk bench uses it, with `plain` as its only peer. */
function withPlain(plain: WalkPeer): BenchContext {
  const none = { autovec: null, avx2: null, avx2nt: null, avx512: null, hmm2019: plain, mainline: plain };
  return { native: { walks: { plain, ...none }, cpuTime: () => performance.now() * 1e6, memset: () => {} } as unknown as Native, nativeReason: null };
}

/** A peer in TypeScript for the one table of 4K pages that the bench lays out. */
function fakePlain(change: (words: BigUint64Array) => void): WalkPeer {
  return (memory, request) => {
    const { buffer } = memory;
    const f64 = new Float64Array(buffer, request, abi.REQUEST_STRIDE / 8);
    const u32 = new Uint32Array(buffer, request, abi.REQUEST_STRIDE / 4);
    const npages = u32[abi.REQ_NPAGES / 4] as number;
    const vpn = f64[abi.REQ_VPN / 8] as number;
    const words = new BigUint64Array(buffer, u32[abi.REQ_OUT / 4] as number, npages);
    for (let i = 0; i < npages; i++) words[i] = VALID | WRITE | BigInt(FIRST_PFN + vpn - 2 ** 28 + i);
    if (npages > 0) change(words);
    f64[abi.STOP_VPN / 8] = vpn + npages;
    u32[abi.STOP_REASON / 4] = abi.STOP_DONE_ALL;
    u32[abi.STOP_DONE / 4] = npages;
    return npages;
  };
}

const SPEC: WalkSpec = { pageSize: '4K', range: 2 * MiB, window: 2048, api: 'modern', fault: false, builds: ['shared'], peers: ['plain'], quick: false };

describe('without the addon', () => {
  it.each(SMALL.map((spec) => [walkName(spec), spec] as const))('%s: the WASM builds agree, peers say why they are missing', async (_name, spec) => {
    const work = await walkWork(spec, NO_ADDON);
    const verdicts = work.contenders.map((one) => [one.name, one.missing ?? one.check?.() ?? null]);
    const walkers = ['walker', ...spec.builds.slice(1).map((build) => `walker ${build}`), 'null'];
    const simpler = comparedWith(spec);
    expect(verdicts).toEqual([...[...walkers, ...(simpler === null ? [] : [simpler])].map((name) => [name, null]), ...spec.peers.map((name) => [name, 'no native addon: not built: npm run build:native'])]);
  });
});

compiled.describe('with the addon', () => {
  it.each(SMALL.map((spec) => [walkName(spec), spec] as const))('%s: every peer writes the same words', async (_name, spec) => {
    const native = addon();
    const work = await walkWork(spec, { native, nativeReason: null });
    for (const one of work.contenders) expect([one.name, one.missing ?? one.check?.() ?? null]).toEqual([one.name, one.missing ?? null]);
    for (const name of spec.peers) expect(contender(work, name).missing).toBe(native.walks[name] === null ? 'this CPU cannot run it' : undefined);
  });
});

describe('a peer', () => {
  it('that writes the same words is taken', async () => {
    const work = await walkWork(SPEC, withPlain(fakePlain(() => {})));
    expect(contender(work, 'walker').check?.()).toBeNull();
    expect(contender(work, 'plain').check?.()).toBeNull();
  });

  it('that differs is refused with the word', async () => {
    let piece = 0;
    const work = await walkWork(SPEC, withPlain(fakePlain((words) => {
      if (piece++ === 1) words[7] = (words[7] as bigint) ^ WRITE;
    })));
    contender(work, 'walker').check?.();
    piece = 0;
    expect(contender(work, 'plain').check?.()).toBe('differs at word 263');
  });

  it('that writes nothing is refused, though the walker wrote the window before', async () => {
    const work = await walkWork(SPEC, withPlain(fakePlain((words) => words.fill(0xa5a5a5a5a5a5a5a5n))));
    contender(work, 'walker').check?.();
    expect(contender(work, 'plain').check?.()).toBe('differs at word 0');
  });

  it('that stops early is refused', async () => {
    const stopping: WalkPeer = (memory, request) => {
      new Uint32Array(memory.buffer, request, abi.REQUEST_STRIDE / 4)[abi.STOP_DONE / 4] = 9;
      return 9;
    };
    const work = await walkWork(SPEC, withPlain(stopping));
    contender(work, 'walker').check?.();
    expect(contender(work, 'plain').check?.()).toBe('stops after 9 pages of piece 0');
  });

  it('is refused while the walker has not been compared with the frames', async () => {
    const work = await walkWork(SPEC, withPlain(fakePlain(() => {})));
    expect(contender(work, 'plain').check?.()).toBe('the walker it is held against was refused');
  });

  it('that writes words in a walk that only looks is refused', async () => {
    const work = await walkWork({ ...SPEC, window: 0 }, withPlain((memory, request) => fakePlain(() => {})(memory, request)));
    contender(work, 'walker').check?.();
    expect(contender(work, 'plain').check?.()).toBe('writes words where none were asked for');
  });
});

describe('the model', () => {
  it.each([['4K', 512, 512], ['2M', 1, 2], ['1G', 1, 2]] as const)('counts leaves, entries and tables of 2 MiB in %s pages', async (pageSize, leaves, entries) => {
    const { model } = await walkWork({ ...SPEC, pageSize }, NO_ADDON);
    // Two pieces of half a leaf pass a huge leaf twice. Tables: pgd, pud, pmd, pte, each only as far down as the leaf needs.
    expect(model).toEqual({ leaves: pageSize === '4K' ? leaves : 2 * leaves, entries, tableBytes: { '4K': 4, '2M': 3, '1G': 2 }[pageSize] * 4096 });
  });
});

describe('layouts', () => {
  const names = Object.keys(LAYOUTS) as LayoutName[];
  const npages = 2 ** 18;

  it.each(names)('%s: its runs are all of it that is there', (name) => {
    const layout = layoutOf(name, npages);
    let pages = 0;
    for (const run of runsOf(layout)) {
      pages += run.npages;
      expect(run.page + run.npages).toBeLessThanOrEqual(layout.devicePages[run.device] as number);
    }
    expect(pages).toBe(layout.rights.filter((right) => right !== NONE).length);
  });

  it('have the shares and the shapes that they are named by', () => {
    const share = (name: LayoutName, right: number): number => layoutOf(name, npages).rights.filter((one) => one === right).length / npages;
    expect(share('10 % read-only', READ_ONLY)).toBeCloseTo(0.1, 2);
    expect(share('25 % holes at random', NONE)).toBeCloseTo(0.25, 2);
    expect(share('25 % holes in runs', NONE)).toBeCloseTo(0.25, 2);
    const runs = [...runsOf(layoutOf('25 % holes in runs', npages))];
    expect(Math.min(...runs.slice(1).map((run, i) => run.first - ((runs[i]?.first ?? 0) + (runs[i]?.npages ?? 0))))).toBeGreaterThanOrEqual(64);
    expect(new Set([...runsOf(layoutOf('64 pagemaps', npages))].map(({ device }) => device)).size).toBe(64);
    expect(new Set([...runsOf(layoutOf('mixed leaf sizes', 2 ** 20))].map(({ level }) => level))).toEqual(new Set([0, 1, 2]));
  });

  it('have pages that ask, and holes that never do', () => {
    const layout = layoutOf('25 % holes in runs', npages);
    const words = requestWords(layout, 1n, 2n);
    expect(words.filter((word) => word !== 0n).length / npages).toBeCloseTo(0.375, 2);
    expect(words.some((word, i) => layout.rights[i] === NONE && word !== 0n)).toBe(false);
    expect(new Set(words)).toEqual(new Set([0n, 1n, 3n]));
  });

  it('are noticed where a walk gets them wrong: one page whose rights differ', async () => {
    const spec: WalkSpec = { ...SPEC, layout: '10 % read-only' };
    const work = await walkWork(spec, withPlain(fakePlain(() => {})));
    expect(contender(work, 'walker').check?.()).toBeNull();
    expect(contender(work, 'plain').check?.()).toMatch(/^differs at word \d+$/);
  });
});

it('workloads have names of their own', () => {
  expect(new Set(walkWorkloads.map(({ name }) => name)).size).toBe(WALKS.length);
});
