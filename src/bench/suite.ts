/** Every workload, in the order in which it runs. Memory is weighed first, while the process is small. */
import { faultWorkloads } from './dax/faults.ts';
import { walkWorkloads } from './hmm/walks.ts';
import { machineWorkloads } from './machine/lifetimes.ts';
import { changeWorkloads } from './pgtable/changes.ts';
import { populateWorkloads } from './pgtable/populate.ts';
import { translateWorkloads } from './pgtable/translate.ts';
import { workerWorkloads } from './share/workers.ts';
import { chainWorkloads } from './sched/chains.ts';
import type { Workload } from './workload.ts';

export const WORKLOADS: readonly Workload[] = [
  ...machineWorkloads,
  ...walkWorkloads,
  ...translateWorkloads,
  ...faultWorkloads,
  ...chainWorkloads,
  ...workerWorkloads,
  ...changeWorkloads,
  ...populateWorkloads,
];
