/**
 * Every workload, in the order in which it runs. Memory is weighed first, while the process is small; then what users
 * run in a process of its own, before walkers of every build have been through the same code.
 */
import { translatorWorkloads } from './api/translators.ts';
import { faultWorkloads } from './dax/faults.ts';
import { deviceWorkloads } from './dmirror/device.ts';
import { exploreWorkloads } from './explore/schedules.ts';
import { writeWorkloads } from './fs/writes.ts';
import { fsxWorkloads } from './fsx/operations.ts';
import { pagemapWorkloads } from './hmm/pagemap.ts';
import { walkWorkloads } from './hmm/walks.ts';
import { machineWorkloads } from './machine/lifetimes.ts';
import { replayWorkloads } from './memtrace/replays.ts';
import { cpuFaultWorkloads } from './mm/faults.ts';
import { notifierWorkloads } from './mm/notifier.ts';
import { vmaWorkloads } from './mm/vmas.ts';
import { changeWorkloads } from './pgtable/changes.ts';
import { firstTouchWorkloads, populateWorkloads } from './pgtable/populate.ts';
import { translateWorkloads } from './pgtable/translate.ts';
import { scenarioWorkloads } from './scenario/runs.ts';
import { workerWorkloads } from './share/workers.ts';
import { chainWorkloads } from './sched/chains.ts';
import type { Workload } from './workload.ts';

export const WORKLOADS: readonly Workload[] = [
  ...machineWorkloads,
  ...firstTouchWorkloads,
  ...translatorWorkloads,
  ...exploreWorkloads,
  ...fsxWorkloads,
  ...walkWorkloads,
  ...translateWorkloads,
  ...pagemapWorkloads,
  ...faultWorkloads,
  ...cpuFaultWorkloads,
  ...vmaWorkloads,
  ...notifierWorkloads,
  ...deviceWorkloads,
  ...writeWorkloads,
  ...chainWorkloads,
  ...scenarioWorkloads,
  ...replayWorkloads,
  ...workerWorkloads,
  ...changeWorkloads,
  ...populateWorkloads,
];
