/** Carries out one operation: what it answers, its errors in the words of the records. Lets through what ends a whole scenario. */
import { Deadlock, FaultSignal, HmmError } from '../errno.ts';
import type { Sleepable } from '../sched/index.ts';
import { Skip, type Answer } from './operation.ts';
import type { Line } from './parse.ts';
import type { Process } from './process.ts';

export function* perform(process: Process, line: Line): Sleepable<Answer> {
  const operation = process.guest.operations.get(line.op);
  if (operation === undefined) throw new Skip(`no operation ${line.op}`);
  try {
    return yield* operation.perform(process, line.args);
  } catch (error) {
    return answerOf(process, error);
  }
}

function answerOf(process: Process, error: unknown): Answer {
  if (error instanceof Skip) return { skip: error.message };
  if (error instanceof Deadlock) throw error;
  if (error instanceof FaultSignal) return signalAnswer(process, error);
  if (HmmError.is(error)) return { err: error.code };
  throw error;
}

/** What an access says that ended in a signal. */
export function signalAnswer(process: Process, { signal: err, reason: code, addr, lsb }: FaultSignal): Answer {
  return { err, code, addr: process.relative(Number(addr)), ...(lsb === 0 ? {} : { lsb }) };
}
