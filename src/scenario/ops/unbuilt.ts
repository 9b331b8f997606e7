/** Operations of the language that nothing carries out yet: such a line is passed over. Each goes from here when its room has it. */
import { Skip, type OperationList } from '../operation.ts';

function* unbuilt(): Generator<never, never, void> {
  throw new Skip('not built');
}

export const UNBUILT_OPERATIONS: OperationList = Object.fromEntries(
  [
    'numa ADDR LEN', 'swap ADDR LEN', 'migrate ADDR LEN', 'unmigrate', 'pgmap WORD', 'dying WORD', 'alive', 'inv_start ADDR LEN', 'inv_end', 'inv_start_nb ADDR LEN',
    'inv_start_nb_lock ADDR LEN', 'inv_start_nb_sem ADDR LEN',
  ].map((usage) => [usage, unbuilt]),
);
