/** What no file of the repository may hold: traces of a machine or a registry, unfinished marks, too many lines. */
import type { Source } from './imports.ts';

export const LINES_MAX = 450;

/** What betrays a machine. `local` adds this machine's own: its checkout, home folder, registry host. */
export function checkTraces(sources: readonly Source[], local: readonly string[]): string[] {
  const patterns = [/(?<![\w./-])\/(?:home|Users|root|work)\/[\w.-]+/, /[A-Za-z]:\\\\?Users\\/, /\bregistry\.[a-z\d-]+\.[a-z]{2,}\b/, /\bhttps?:\/\/[^\s"'/]*\b(?:artifactory|nexus|verdaccio|npm-proxy|npmmirror)\b/i];
  return eachLine(sources, (line) => patterns.map((pattern) => pattern.exec(line)?.[0]).find((hit) => hit !== undefined) ?? local.find((text) => line.includes(text)) ?? null).map(
    ({ file, line, hit }) => `${file}:${line}: ${hit} belongs to a machine`,
  );
}

/** A lock file names packages by version and hash; whence they come is the machine's business. */
export function checkLock(lock: Source): string[] {
  return eachLine([lock], (line) => /"resolved":\s*"((?:git\+)?(?:https?|ssh|git):[^"]*)"/.exec(line)?.[1] ?? null).map(({ file, line, hit }) => `${file}:${line}: resolved to ${hit}`);
}

export function checkUnfinished(sources: readonly Source[]): string[] {
  const mark = /\b(?:TO[D]O|FI[X]ME|XX[X]|HA[C]K)\b/;
  return eachLine(sources, (line) => mark.exec(line)?.[0] ?? null).map(({ file, line, hit }) => `${file}:${line}: ${hit} mark`);
}

export function checkLength(sources: readonly Source[]): string[] {
  return sources.flatMap(({ file, text }) => {
    const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
    return lines > LINES_MAX ? [`${file}: ${lines} lines (at most ${LINES_MAX}): look for the second concept in it`] : [];
  });
}

/** Names that no string of any of the `tests` mentions. `stringsOf` tells a file's string literals. */
export function checkMentioned(names: readonly string[], tests: readonly Source[], stringsOf: (text: string) => readonly string[]): string[] {
  const strings = tests.flatMap(({ text }) => stringsOf(text));
  return names.filter((name) => !strings.some((string) => mentions(string, name))).map((name) => `bug switch ${name} has no regress test`);
}

/** `name` as a whole: `stale-pfn` is not mentioned by `stale-pfn-late`. */
function mentions(text: string, name: string): boolean {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!/[\w-]/.test(text[at - 1] ?? ' ') && !/[\w-]/.test(text[at + name.length] ?? ' ')) return true;
  }
  return false;
}

function eachLine(sources: readonly Source[], look: (line: string) => string | null): { file: string; line: number; hit: string }[] {
  return sources.flatMap(({ file, text }) =>
    text.split('\n').flatMap((content, i) => {
      const hit = look(content);
      return hit === null ? [] : [{ file, line: i + 1, hit }];
    }),
  );
}
