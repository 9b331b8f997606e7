/** Readers in other threads are told of every change: no call that changes tables goes past the sequence. */
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** exports of assembly/ that write entries, or free tables */
const CHANGES = /\bwalker\.(slot|setEntry|setRaw|map|zap|protect|split|harvest|install|freeTables|freeSpace|frameFree)\(/;

function sourcesUnder(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`;
    return entry.isDirectory() ? sourcesUnder(name) : name.endsWith('.ts') ? [name] : [];
  });
}

/** Calls that nobody announces: not in the page table, or without the sequence in the line above. */
function unannounced(file: string, text: string): string[] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    if (!CHANGES.test(line)) return [];
    const announced = /#(changing|replacing)\(\);$|this\.#share = 0;$/.test(lines[i - 1] ?? '');
    return announced && file === 'src/pgtable/pageTable.ts' ? [] : [`${file}:${i + 1}: ${line.trim()}`];
  });
}

test('every change of a table is announced', () => {
  const files = sourcesUnder('src').filter((file) => !file.startsWith('src/bench/')); // benches look at the walker itself
  expect(files.flatMap((file) => unannounced(file, readFileSync(path.join(ROOT, file), 'utf8')))).toEqual([]);
});

test('one that is not is found', () => {
  const text = readFileSync(path.join(ROOT, 'src/pgtable/pageTable.ts'), 'utf8');
  expect(unannounced('src/pgtable/pageTable.ts', text.replace(/.*#replacing\(\);\n/, ''))).toHaveLength(1);
  expect(unannounced('src/mm/zap.ts', '    if (this.#share !== 0) this.#changing();\n    arena.walker.zap(r);')).toEqual(['src/mm/zap.ts:2: arena.walker.zap(r);']);
});
