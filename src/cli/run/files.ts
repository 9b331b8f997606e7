/** Scenario files in, records out. What is wrong with a file is BadInput with its name. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ScenarioError, operationsFor, parseScenario, recordText, type ProbeApi, type ScenarioRecord, type Script } from '../../scenario/index.ts';
import { BadInput, MisplacedInput, hostWords } from '../badInput.ts';

/** More bytes than a scenario may have in all its lines, comments among them. */
const FILE_BYTES_MAX = 2 ** 20;

export function readScripts(files: readonly string[], api: ProbeApi): Script[] {
  return files.map((file) => {
    try {
      const script = parseScenario(file, readText(file, FILE_BYTES_MAX), operationsFor(api));
      if (script.lines.length === 0) throw new BadInput(`${file}: not one operation`);
      return script;
    } catch (error) {
      throw error instanceof ScenarioError ? new MisplacedInput(error.message) : error;
    }
  });
}

/** A file's text. Throws BadInput where it cannot be had. */
export function readText(file: string, bytesMax: number): string {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) throw new BadInput(`${file}: a folder, not a file`);
    if (stat.size > bytesMax) throw new BadInput(`${file}: ${stat.size} bytes are more than ${bytesMax}`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw error instanceof BadInput ? error : new BadInput(`${file}: ${hostWords(error)}`);
  }
}

/** Made before anything runs: a folder that cannot be made is known at once. */
export function makeFolder(folder: string): void {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return;
  if (stat !== undefined) throw new BadInput(`${folder}: not a folder`);
  // Not { recursive }: Node goes round for ever where a parent is there and will not have it (/proc).
  if (dirname(folder) !== folder) makeFolder(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    throw new BadInput(`${folder}: ${hostWords(error)}`);
  }
}

export function writeRecord(folder: string, record: ScenarioRecord): void {
  const file = join(folder, `${record.scenario}.json`);
  try {
    writeFileSync(file, recordText(record));
  } catch (error) {
    throw new BadInput(`${file}: ${hostWords(error)}`);
  }
}
