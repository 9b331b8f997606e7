/** The operations of the language, by the probe that carries them out. */
import { checkOneOf } from '../api/checks.ts';
import type { ProbeApi } from './guest.ts';
import { operationTable, type Operations } from './operation.ts';
import { ACCESS_OPERATIONS } from './ops/access.ts';
import { ADVICE_OPERATIONS } from './ops/advice.ts';
import { DEVICE_OPERATIONS } from './ops/devices.ts';
import { FILE_OPERATIONS } from './ops/files.ts';
import { HMM_OPERATIONS } from './ops/hmm.ts';
import { LEGACY_OPERATIONS } from './ops/legacy.ts';
import { MAPPING_OPERATIONS } from './ops/mappings.ts';
import { MIRROR_OPERATIONS } from './ops/mirrors.ts';
import { PAGE_OPERATIONS } from './ops/pages.ts';
import { PROCESS_OPERATIONS } from './ops/processes.ts';
import { TASK_OPERATIONS } from './ops/tasks.ts';

/** What both probes can do. */
const COMMON = [
  MAPPING_OPERATIONS,
  ADVICE_OPERATIONS,
  ACCESS_OPERATIONS,
  FILE_OPERATIONS,
  HMM_OPERATIONS,
  PAGE_OPERATIONS,
  DEVICE_OPERATIONS,
  PROCESS_OPERATIONS,
  TASK_OPERATIONS,
  MIRROR_OPERATIONS,
];

const MODERN = operationTable(...COMMON);
const LEGACY = operationTable(...COMMON, LEGACY_OPERATIONS);

/** The table of a probe: what its scenarios may ask. Throws TypeError for an API that is none. */
export function operationsFor(api: ProbeApi): Operations {
  checkOneOf('operationsFor', 'api', api, ['modern', '2019']);
  return api === '2019' ? LEGACY : MODERN;
}
