/** Which models are meant: shipped ones by name, scenario files with tasks by their path. */
import { existsSync } from 'node:fs';
import { MODELS, modelOfScript, type Model } from '../../explore/index.ts';
import type { ProfileName } from '../../profile/index.ts';
import { ScenarioError, nearest, operationsFor, parseScenario, probeOf } from '../../scenario/index.ts';
import { BadInput, MisplacedInput } from '../badInput.ts';
import { readText } from '../run/files.ts';

const FILE_BYTES_MAX = 2 ** 20;
const DEFAULT_PROFILE: ProfileName = 'v6.1';

/** `profile` is for files. Throws BadInput. */
export function modelsNamed(names: readonly string[], profile: ProfileName | undefined): Model[] {
  if (profile !== undefined && !names.some(isFile)) throw new BadInput('--profile is for scenario files: the shipped models have theirs');
  return names.map((name) => (isFile(name) ? modelOfFile(name, profile ?? DEFAULT_PROFILE) : shippedModel(name)));
}

export function shippedModel(name: string, place = ''): Model {
  const names = MODELS.map((model) => model.name);
  const model = MODELS.find((one) => one.name === name);
  if (model === undefined) throw new BadInput(`${place}unknown model ${nearest(name, names)}; known: ${names.join(', ')}${place === '' ? ', and scenario files (.scn)' : ''}`);
  return model;
}

function isFile(name: string): boolean {
  return name.endsWith('.scn') || name.includes('/') || (!MODELS.some((model) => model.name === name) && existsSync(name));
}

function modelOfFile(file: string, profile: ProfileName): Model {
  const text = readText(file, FILE_BYTES_MAX);
  try {
    return modelOfScript(text, parseScenario(file, text, operationsFor(probeOf(profile))), { file, profile });
  } catch (error) {
    throw error instanceof ScenarioError ? new MisplacedInput(error.message) : error;
  }
}
