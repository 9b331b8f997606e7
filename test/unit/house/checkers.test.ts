/** The house's checkers can fail: each on examples in memory, right ones and wrong ones. */
import { describe, expect, it } from 'vitest';
import { checkAmbient } from './ambient.ts';
import { checkBitwise } from './bitwise.ts';
import { checkImports, importsOf, roomOf } from './imports.ts';
import { checkLength, checkLock, checkMentioned, checkTraces, checkUnfinished } from './texts.ts';
import { tokenize } from './tokens.ts';

const words = (text: string): string[] => tokenize(text).map((token) => token.text);
const strings = (text: string): string[] => tokenize(text).flatMap((token) => (token.kind === 'string' ? [token.text] : []));

describe('tokenize', () => {
  it('leaves out comments and white space and counts lines', () => {
    const tokens = tokenize('a // b\n/* c\n d */ e');
    expect(tokens.map(({ text, line }) => [text, line])).toEqual([['a', 1], ['e', 3]]);
  });

  it('tells a regular expression from a division', () => {
    expect(words('x = a / b / c; y = /[/"]+/g.test(s)')).toEqual(['x', '=', 'a', '/', 'b', '/', 'c', ';', 'y', '=', '/[/"]+/g', '.', 'test', '(', 's', ')']);
  });

  it('takes a template apart, templates inside it too', () => {
    expect(words('`a ${f(`b ${c}`)} d`;')).toEqual(['a ', '(', 'f', '(', 'b ', '(', 'c', ')', '', ')', ')', ' d', ';']);
  });

  it('finds the end of a string with escapes', () => {
    expect(strings(String.raw`'a\'b' + "c\\" + 'd'`)).toEqual([String.raw`a\'b`, String.raw`c\\`, 'd']);
  });

  it('reads numbers of all forms', () => {
    expect(words('0xffn 1_000 1.5e-3 .5 2..x 1n')).toEqual(['0xffn', '1_000', '1.5e-3', '.5', '2.', '.', 'x', '1n']);
  });
});

describe('importsOf', () => {
  it.each([
    ["import { a } from './a.ts';", ['./a.ts']],
    ["import type { A } from './a.ts';", ['./a.ts']],
    ["import a, * as b from './a.ts';", ['./a.ts']],
    ["import './a.ts';", ['./a.ts']],
    ["export * from './a.ts'; export type { B } from './b.ts';", ['./a.ts', './b.ts']],
    ["const m = await import('./a.ts'); let t: import('./b.ts').B;", ['./a.ts', './b.ts']],
    ["export const from = 'x'; const u = import.meta.url; // import './c.ts'", []],
    ["export { a, b };\nconst from = './x.ts';", []],
    ["object.import('./a.ts');", []],
  ])('%s', (text, specs) => {
    expect(importsOf(tokenize(text)).map(({ spec }) => spec)).toEqual(specs);
  });
});

describe('imports run one way', () => {
  const check = (file: string, spec: string): string[] => checkImports([{ file, text: `import type { x } from '${spec}';\n` }]);

  it.each([
    ['src/errno.ts', './abi.ts'],
    ['src/arena/arena.ts', '../sched/task.ts'],
    ['src/mm/vma.ts', './notifier/interval.ts'],
    ['src/mm/fault.ts', '../thp/split.ts'],
    ['src/dax/fault.ts', '../mm/vma.ts'],
    ['src/dax/fault.ts', '../fs/inode.ts'],
    ['src/hmm/range.ts', '../memremap/pgmap.ts'],
    ['src/dmirror/device.ts', '../hmm/range.ts'],
    ['src/machine.ts', './dax/fault.ts'],
    ['src/api/machine.ts', '../native/load.ts'],
    ['src/native/load.ts', '../errno.ts'],
    ['src/bench/walks.ts', '../costs/cpus.ts'],
    ['src/cli/main.ts', '../index.ts'],
    ['src/cli/main.ts', 'commander'],
    ['src/arena/wasm.ts', 'node:fs/promises'],
    ['assembly/walk.ts', './descend'],
    ['assembly/walk.ts', '../src/abi'],
  ])('%s may import %s', (file, spec) => {
    expect(check(file, spec)).toEqual([]);
  });

  it.each([
    ['src/abi.ts', './errno.ts', 'abi imports nothing'],
    ['src/arena/arena.ts', '../pgtable/entry.ts', 'arena may not import pgtable'],
    ['src/mm/vma.ts', '../dax/fault.ts', 'mm may not import dax'],
    ['src/mm/notifier/classic.ts', '../vma.ts', 'notifier may not import mm'],
    ['src/hmm/range.ts', '../dax/fault.ts', 'hmm may not import dax'],
    ['src/hmm/range.ts', '../fs/inode.ts', 'hmm may not import fs'],
    ['src/dmirror/device.ts', '../fs/inode.ts', 'dmirror may not import fs'],
    ['src/kvm/mmu.ts', '../dax/fault.ts', 'kvm may not import dax'],
    ['src/kvm/mmu.ts', '../hmm/range.ts', 'kvm may not import hmm, its sibling'],
    ['src/machine.ts', './api/machine.ts', 'machine may not import api'],
    ['src/scenario/run.ts', '../cli/main.ts', 'scenario may not import cli'],
    ['src/arena/arena.ts', '../native/load.ts', 'arena may not import native'],
    ['src/native/load.ts', '../arena/arena.ts', 'native may not import arena'],
    ['src/mm/vma.ts', 'node:fs', 'mm is plain computation'],
    ['src/mm/vma.ts', '../../test/support/skips.ts', 'outside src/'],
    ['src/mm/vma.ts', '../attic/x.ts', 'a room without a place'],
    ['assembly/walk.ts', '../src/errno', 'sees only itself and src/abi'],
    ['assembly/walk.ts', 'assemblyscript', 'sees only itself and src/abi'],
  ])('%s may not import %s', (file, spec, message) => {
    const findings = check(file, spec);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toContain(`${file}:1: `);
    expect(findings[0]).toContain(message);
  });

  it('a room without a place in the order is a finding', () => {
    expect(checkImports([{ file: 'src/attic/x.ts', text: '' }])).toEqual(['src/attic/x.ts:1: room attic has no place in the order']);
  });

  it('tools may import each other, not in a circle', () => {
    const to = (file: string, spec: string) => ({ file, text: `import '${spec}';` });
    const sources = [to('src/fsx/run.ts', '../scenario/run.ts'), to('src/scenario/run.ts', '../check/rules.ts')];
    expect(checkImports(sources)).toEqual([]);
    expect(checkImports([...sources, to('src/check/rules.ts', '../fsx/run.ts')])).toHaveLength(3);
  });

  it('knows the room of a path', () => {
    expect(['src/abi.ts', 'src/mm/vma.ts', 'src/mm/notifier/a.ts', 'src/mm/notifier.ts', 'test/a.ts'].map(roomOf)).toEqual(['abi', 'mm', 'notifier', 'notifier', null]);
  });
});

describe('no bitwise operator on a page number', () => {
  const check = (text: string): string[] => checkBitwise([{ file: 'src/x.ts', text }]);

  it.each([
    'vpn & 511',
    'const i = vpn >> 9;',
    'return vpn >>> 0;',
    'x = 1 << pfn',
    'entry | basePfn',
    'area.startVpn & 7',
    'this.#pfn ^ 1'.replace('#', ''),
    'npages << 12',
    'vpn |= 1',
    'vpn >>>= 9',
    '~pfn',
    '(vpn + 1) >> 9',
    'vpn - base & 511',
    'flags & vpn / 512',
    'Math.floor(vpn / 512) & 511',
    'Number(pfn) | 0',
    '(isHuge ? headPfn : 0) | 1',
    'vpns[i].vpn & 1',
    'vma!.endVpn! & 1',
    '`${vpn & 1}`',
    'f(vpn & 1)',
  ])('%s is an error', (text) => {
    expect(check(text)).toHaveLength(1);
  });

  it.each([
    'Math.floor(vpn / 512) % 512',
    '(vpn % 512) << 3',
    'vpn % 512 & 7',
    'level(vpn) & 7',
    'table[vpn] & 1',
    'flags & 7, vpn',
    'vpn && 1 || pfn',
    'flags & PRESENT && vpn > 0',
    'pfn < 4 && flags & 1',
    'BigInt(vpn) << 12n',
    '(pfn << 12n) | 1n',
    'let x: Vpn | null',
    'type F = ((vpn: number) => void) | null',
    'type G = null | ((vpn: number, npages?: number) => void)',
    'type H = { vpn: number } | { pfn: number }',
    'function f(vpn: Vpn): number | null {}',
    'const m = new Map<number, Set<Vpn>>(npages);',
    '// vpn & 511',
    '"vpn & 511"',
    'vpn.flags & 1',
    'pfn(x) & 1',
    'if (vpn) flags & 1',
  ])('%s is none', (text) => {
    expect(check(text)).toEqual([]);
  });

  it('says where and what', () => {
    expect(check('let a;\nlet b = vpn >> 9;')).toEqual(['src/x.ts:2: >> on page number vpn (it cuts to 32 bits)']);
  });
});

describe('the model reads no clock, chance, log or process of the world', () => {
  const check = (text: string, file = 'src/mm/x.ts'): string[] => checkAmbient([{ file, text }]);

  it.each(['Date.now()', 'new Date()', 'new Date', 'Math.random()', 'console.log(1)', 'process.env.X', 'globalThis.process.env', 'globalThis.console.log(1)', 'performance.now()', 'setTimeout(f, 1)', "import { env } from 'node:process';", "import { performance } from 'perf_hooks';"])(
    '%s is an error',
    (text) => {
      expect(check(text)).toHaveLength(1);
    },
  );

  it.each(['new Date(0)', 'Math.floor(1)', 'this.console.log(1)', 'const process = spawn(); process.mm;', 'machine.setTimeout(1)', '// Date.now()', "'Math.random'"])('%s is none', (text) => {
    expect(check(text)).toEqual([]);
  });

  it('the CLI, the benches, the addon loader and the facade that loads may', () => {
    for (const file of ['src/cli/main.ts', 'src/bench/walks.ts', 'src/native/load.ts', 'src/api/native.ts', 'src/api/loadWasm.ts']) expect(check('process.env.X', file)).toEqual([]);
    expect(check('process.env.X', 'src/api/machine.ts')).toHaveLength(1);
  });
});

describe('texts', () => {
  const at = (...parts: string[]): string => `/${parts.join('/')}`;
  const source = (text: string) => ({ file: 'a.md', text });

  it('a path of a machine is a finding', () => {
    for (const trace of [at('home', 'ann', 'x'), at('Users', 'ann'), at('root', '.npmrc'), `see ${at('work', 'main')}.`, `"${at('home', 'ann')}"`]) expect(checkTraces([source(trace)], [])).toHaveLength(1);
    for (const fine of ['src/root/x', 'https://x.org/home/y', 'the/work/of', '/usr/include/node', '/rooted/x', './home/x']) expect(checkTraces([source(fine)], [])).toEqual([]);
  });

  it('a registry host, or what is this machine’s own, is a finding', () => {
    expect(checkTraces([source(`https://${['registry', 'example', 'org'].join('.')}/x`)], [])).toHaveLength(1);
    expect(checkTraces([source('a\nb secret-host c')], ['secret-host'])).toEqual(['a.md:2: secret-host belongs to a machine']);
    expect(checkTraces([source('a registry. Then')], [])).toEqual([]);
  });

  it('a lock file that says whence a package comes is a finding', () => {
    expect(checkLock(source('{\n "resolved": "https://x.y/z.tgz"\n}'))).toEqual(['a.md:2: resolved to https://x.y/z.tgz']);
    expect(checkLock(source('"resolved": "packages/x", "funding": "https://x.y"'))).toEqual([]);
  });

  it('a mark of unfinished work is a finding', () => {
    expect(checkUnfinished([source(`// ${['TO', 'DO'].join('')}: later`)])).toHaveLength(1);
    expect(checkUnfinished([source('todo list, mkdtemp XXXXXX')])).toEqual([]);
  });

  it('a file of more than 450 lines is a finding', () => {
    expect(checkLength([source('x\n'.repeat(450))])).toEqual([]);
    expect(checkLength([source('x\n'.repeat(451))])).toHaveLength(1);
  });

  it('a bug switch that only a comment, or a longer name, mentions has no test', () => {
    const check = (text: string): string[] => checkMentioned(['stale-pfn'], [source(text)], strings);
    expect(check("bugs: ['stale-pfn']")).toEqual([]);
    expect(check("describe('bug switch stale-pfn: …')")).toEqual([]);
    expect(check("// 'stale-pfn'")).toHaveLength(1);
    expect(check("['stale-pfn-late', 'not-stale-pfn']")).toHaveLength(1);
  });
});
