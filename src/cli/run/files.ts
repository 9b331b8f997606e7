/** Scenario files in, records out. What is wrong with a file is BadInput with its name. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScenarioError, operationsFor, parseScenario, recordText, type ProbeApi, type ScenarioRecord, type Script } from '../../scenario/index.ts';
import { BadInput, MisplacedInput } from '../badInput.ts';

/** More bytes than a scenario may have in all its lines, comments among them. */
const FILE_BYTES_MAX = 2 ** 20;

export function readScripts(files: readonly string[], api: ProbeApi): Script[] {
  return files.map((file) => {
    try {
      return parseScenario(file, readText(file, FILE_BYTES_MAX), operationsFor(api));
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
    throw error instanceof BadInput ? error : new BadInput(`${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}

export function writeRecord(folder: string, record: ScenarioRecord): void {
  const file = join(folder, `${record.scenario}.json`);
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, recordText(record));
  } catch (error) {
    throw new BadInput(`${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
