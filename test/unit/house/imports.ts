/**
 * Which way imports run (CONTRIBUTING, "Rooms and arrows"). A room is a folder of src/, or a file that stands in src/ itself.
 *
 * Types count too: an `import type` ties two rooms as much as any other. Each rule yields lines `FILE:LINE: what is wrong`.
 */
import path from 'node:path';
import { tokenize, type Token } from './tokens.ts';

export interface Source {
  /** path from the checkout, with slashes */
  readonly file: string;
  readonly text: string;
}

/** Lowest first; a room imports only from lines above its own, and from itself. */
export const TIERS: readonly (readonly string[])[] = [
  ['abi', 'nearest'],
  ['errno'],
  ['units', 'beside'],
  ['interval'],
  ['profile'],
  ['events'],
  ['sched'],
  ['arena'],
  ['persistence'],
  ['page'],
  ['pgtable'],
  ['memremap'],
  ['fs'],
  ['notifier'],
  ['mm', 'gup', 'thp', 'hugetlb', 'migrate'],
  ['dax', 'hmm', 'kvm'],
  ['dmirror'],
  ['machine'],
  ['share'],
  ['api'],
  ['check', 'scenario', 'fsx', 'explore', 'trace', 'memtrace', 'costs', 'bench'],
  ['index'],
  ['cli'],
];

/** Rooms of one tier that may import each other, as long as no circle of rooms comes of it. */
const OPEN_TIERS = ['check'];
/** Rooms of one tier that are one house: they import each other freely. */
const SHARED_TIERS = ['mm'];

/** What a room must not see though the order would allow it. */
const NEVER: Readonly<Record<string, readonly string[]>> = {
  mm: ['dax'],
  hmm: ['dax', 'fs'],
  dmirror: ['dax', 'fs'],
  kvm: ['dax', 'fs'],
};
/** The addon stands beside the order: these may load it, and it sees only these. */
const LOADS_NATIVE = ['api', 'bench', 'cli'];
const NATIVE_SEES = ['abi', 'errno'];

/** Rooms from the ABI to the machine are plain computation: no package, nothing of Node. */
const MAY_USE_PACKAGES_FROM = 'api';
/** The loader of the WASM file is the one exception. */
const PACKAGE_EXCEPTIONS = ['src/arena/wasm.ts'];

export interface Import {
  readonly spec: string;
  readonly line: number;
}

/** Every module specifier of a file: import, export … from, import(). */
export function importsOf(tokens: readonly Token[]): Import[] {
  const found: Import[] = [];
  for (const [i, token] of tokens.entries()) {
    if (token.kind !== 'name' || tokens[i - 1]?.text === '.') continue;
    const spec = token.text === 'import' ? importSpec(tokens, i) : token.text === 'export' ? exportSpec(tokens, i) : undefined;
    if (spec?.kind === 'string') found.push({ spec: spec.text, line: spec.line });
  }
  return found;
}

function importSpec(tokens: readonly Token[], at: number): Token | undefined {
  const next = tokens[at + 1];
  if (next?.kind === 'string') return next;
  if (next?.text === '(') return tokens[at + 2];
  if (next?.text === '.') return undefined;
  return specAfterFrom(tokens, at + 1);
}

function exportSpec(tokens: readonly Token[], at: number): Token | undefined {
  const first = tokens[at + 1]?.text === 'type' ? at + 2 : at + 1;
  const opens = tokens[first]?.text;
  return opens === '{' || opens === '*' ? specAfterFrom(tokens, first) : undefined;
}

/** The string after the clause's `from`: the clause holds only names, commas, braces and stars. */
function specAfterFrom(tokens: readonly Token[], from: number): Token | undefined {
  for (let i = from; i < tokens.length; i++) {
    const token = tokens[i];
    if (token === undefined || (token.kind === 'punct' && !['{', '}', ',', '*'].includes(token.text))) return undefined;
    if (token.text === 'from' && tokens[i + 1]?.kind === 'string') return tokens[i + 1];
  }
  return undefined;
}

/** The room of a path such as `src/mm/vma.ts`; null outside src/. `mm/notifier` is a room of its own, below mm. */
export function roomOf(file: string): string | null {
  const [top, first = '', second = ''] = file.split('/');
  if (top !== 'src') return null;
  if (second === '') return first.replace(/\.[a-z.]+$/, '');
  return first === 'mm' && /^notifier(?:\.ts)?$/.test(second) ? 'notifier' : first;
}

/** All breaches in `sources` (files of src/ and assembly/). */
export function checkImports(sources: readonly Source[]): string[] {
  const findings: string[] = [];
  const edges = new Map<string, Map<string, string>>(); // room -> room -> where, inside the open tiers
  for (const { file, text } of sources) {
    for (const { spec, line } of importsOf(tokenize(text))) {
      const where = `${file}:${line}`;
      const wrong = file.startsWith('assembly/') ? wrongInAssembly(file, spec) : wrongInSrc(file, spec, edges, where);
      if (wrong !== null) findings.push(`${where}: ${wrong}`);
    }
    if (!file.startsWith('assembly/') && rank(roomOf(file) ?? '') < 0 && roomOf(file) !== 'native') {
      findings.push(`${file}:1: room ${roomOf(file)} has no place in the order`);
    }
  }
  return findings.concat(circles(edges));
}

function wrongInAssembly(file: string, spec: string): string | null {
  const target = path.posix.join(path.posix.dirname(file), spec);
  if (spec.startsWith('.') && (target.startsWith('assembly/') || target === 'src/abi')) return null;
  return `imports ${spec}: assembly/ sees only itself and src/abi`;
}

function wrongInSrc(file: string, spec: string, edges: Map<string, Map<string, string>>, where: string): string | null {
  const from = roomOf(file) ?? '';
  if (from === 'abi') return `imports ${spec}: abi imports nothing`;
  if (!spec.startsWith('.')) {
    const isPlain = from !== 'native' && rank(from) < rank(MAY_USE_PACKAGES_FROM) && !PACKAGE_EXCEPTIONS.includes(file);
    return isPlain ? `imports ${spec}: ${from} is plain computation` : null;
  }
  const target = path.posix.join(path.posix.dirname(file), spec);
  const to = roomOf(target);
  if (to === null) return `imports ${target}: it is outside src/`;
  if (to === from) return null;
  if (to === 'native') return LOADS_NATIVE.includes(from) ? null : `${from} may not import native (only ${LOADS_NATIVE.join(', ')} load it)`;
  if (from === 'native') return NATIVE_SEES.includes(to) ? null : `native may not import ${to}`;
  if (rank(to) < 0 || rank(from) < 0) return `imports ${target}: a room without a place in the order`;
  if (NEVER[from]?.includes(to) === true || rank(to) > rank(from)) return `${from} may not import ${to}`;
  if (rank(to) < rank(from)) return null;
  const tier = TIERS[rank(to)]?.[0] ?? '';
  if (SHARED_TIERS.includes(tier)) return null;
  if (!OPEN_TIERS.includes(tier)) return `${from} may not import ${to}, its sibling`;
  const out = edges.get(from) ?? new Map<string, string>();
  edges.set(from, out.set(to, where));
  return null;
}

function rank(room: string): number {
  return TIERS.findIndex((tier) => tier.includes(room));
}

/** One finding for each room that can be reached from itself. */
function circles(edges: ReadonlyMap<string, ReadonlyMap<string, string>>): string[] {
  const findings: string[] = [];
  for (const start of edges.keys()) {
    const seen = new Set<string>();
    const queue = [start];
    for (let room = queue.shift(); room !== undefined; room = queue.shift()) {
      for (const [next, where] of edges.get(room) ?? []) {
        if (next === start) findings.push(`${where}: ${room} imports ${start}, which leads back to it`);
        else if (!seen.has(next)) queue.push(next);
        seen.add(next);
      }
    }
  }
  return findings;
}
