/**
 * Clock, chance, log and process are handed in: the model reads none of the world's own.
 *
 * Holds for every room but the CLI, the benches, the addon's loader, and what loads for the facade (`src/api/native*.ts`, `load*.ts`).
 */
import { importsOf, roomOf, type Source } from './imports.ts';
import { tokenize, type Token } from './tokens.ts';

const FREE_ROOMS = ['cli', 'bench', 'native'];
const FREE_FILES = /^src\/api\/(?:load|native)\w*\.ts$/;

/** Members that make `process` Node's: a modelled process may carry that name too. */
const PROCESS_MEMBERS = new Set(
  ('env argv argv0 execArgv execPath exit exitCode cwd chdir stdout stderr stdin pid ppid platform arch version versions hrtime uptime ' +
    'memoryUsage resourceUsage cpuUsage nextTick on once off emit emitWarning kill binding features release title umask').split(' '),
);
const MEMBERS: Readonly<Record<string, ReadonlySet<string> | 'any'>> = {
  Date: new Set(['now']),
  Math: new Set(['random']),
  performance: new Set(['now', 'timeOrigin', 'mark', 'measure']),
  crypto: new Set(['getRandomValues', 'randomUUID']),
  console: 'any',
  process: PROCESS_MEMBERS,
};
const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask']);
const MODULES = new Set(['process', 'timers', 'perf_hooks', 'console', 'crypto', 'worker_threads'].flatMap((name) => [name, `node:${name}`, `node:${name}/promises`]));

export function checkAmbient(sources: readonly Source[]): string[] {
  return sources.flatMap(({ file, text }) => {
    const room = roomOf(file);
    if (room === null || FREE_ROOMS.includes(room) || FREE_FILES.test(file)) return [];
    const tokens = tokenize(text);
    const uses = tokens.flatMap((token, i) => {
      const use = ambientUse(tokens, i);
      return use === null ? [] : [{ line: token.line, use }];
    });
    const modules = importsOf(tokens).filter(({ spec }) => MODULES.has(spec));
    return [...uses, ...modules.map(({ spec, line }) => ({ line, use: spec }))].map(({ line, use }) => `${file}:${line}: ${use} in the model`);
  });
}

/** What token `at` uses of the world, as written; null if nothing. */
function ambientUse(tokens: readonly Token[], at: number): string | null {
  const token = tokens[at];
  const before = tokens[at - 1];
  if (token?.kind !== 'name') return null;
  const isMember = before?.text === '.' || before?.text === '?.';
  const isGlobal = isMember && tokens[at - 2]?.text === 'globalThis';
  if (isMember && !isGlobal) return null;
  const [next, member] = [tokens[at + 1]?.text, tokens[at + 2]?.text ?? ''];
  if (token.text === 'Date' && before?.text === 'new' && (next !== '(' || member === ')')) return 'new Date()';
  if (TIMERS.has(token.text) && next === '(' && before?.text !== 'function') return `${token.text}()`;
  const members = Object.hasOwn(MEMBERS, token.text) ? MEMBERS[token.text] : undefined;
  if (members === undefined || (next !== '.' && next !== '?.')) return isGlobal && members !== undefined ? `globalThis.${token.text}` : null;
  return members === 'any' || members.has(member) ? `${token.text}.${member}` : null;
}
