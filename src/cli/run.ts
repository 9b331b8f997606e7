/** `daxmirror run`: what Linux would answer to a scenario, operation by operation, and where that is not what a kernel answered. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { ScenarioError, agreesWhole, compareRecords, operationsFor, parseScenario, probeOf, runScenario, type ScenarioRecord, type Script } from '../scenario/index.ts';
import { BadInput } from './badInput.ts';

interface RunFlags {
  readonly profile: string;
  readonly out?: string;
  readonly against?: string;
  readonly json?: boolean;
}

export function runCommand(): Command {
  return new Command('run')
    .summary('answer scenarios as Linux would, and compare with what a kernel answered')
    .argument('<FILE...>', 'scenario files')
    .addOption(new Option('--profile <NAME>', 'which kernel').choices(['v6.1', 'v6.12', 'v5.2']).default('v6.1'))
    .option('--out <DIR>', 'write each answer to DIR/NAME.json')
    .option('--against <PATH>', "a kernel's record, or a folder of them")
    .option('--json', 'print the answers as JSON and nothing else')
    .action(async (files: readonly string[], flags: RunFlags) => {
      process.exitCode = (await run(files, flags)) ? 0 : 1;
    });
}

async function run(files: readonly string[], flags: RunFlags): Promise<boolean> {
  const scripts = files.map((file) => readScript(file, flags.profile));
  let agree = true;
  for (const script of scripts) {
    const record = await runScenario(script, { profile: flags.profile });
    const text = recordText(record);
    if (flags.out !== undefined) {
      mkdirSync(flags.out, { recursive: true });
      writeFileSync(join(flags.out, `${record.scenario}.json`), text);
    }
    if (flags.against !== undefined) agree = against(record, flags.against) && agree;
    else if (flags.out === undefined || flags.json === true) process.stdout.write(text);
  }
  return agree;
}

function readScript(file: string, profile: string): Script {
  try {
    return parseScenario(file, readFileSync(file, 'utf8'), operationsFor(probeOf(profile)));
  } catch (error) {
    if (error instanceof ScenarioError) throw new BadInput(error.message);
    throw new BadInput(`${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}

/** A record as the kernel's are written: an operation a line. */
function recordText({ scenario, title, result, ops, klog }: ScenarioRecord): string {
  const lines = ops.map((op) => JSON.stringify(op)).join(',\n');
  return `{"scenario":${JSON.stringify(scenario)},\n"title":${JSON.stringify(title)},\n"result":${JSON.stringify(result)},\n"ops":[\n${lines}\n],\n"klog":${JSON.stringify(klog)}}\n`;
}

function against(record: ScenarioRecord, path: string): boolean {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, `${record.scenario}.json`) : path;
  if (!existsSync(file)) throw new BadInput(`no record ${file}`);
  const want = JSON.parse(readFileSync(file, 'utf8')) as ScenarioRecord;
  const comparison = compareRecords(want, record);
  const { agree, detail, operations, differences, resultAgrees } = comparison;
  const lines = [`${record.scenario}: ${agree}/${operations} agree, ${detail}/${operations} in detail too${resultAgrees ? '' : `; result ${record.result}, not ${want.result}`}`];
  for (const { i, op, contract, want: wanted, got } of differences) {
    if (contract.length > 0) lines.push(`  ${i}: ${op}  [${contract.join(', ')}]`, `     want ${JSON.stringify(wanted)}`, `     got  ${JSON.stringify(got ?? null)}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  return agreesWhole(comparison);
}
