/** One scenario's answers for people. */
import type { ScenarioRecord } from '../../scenario/index.ts';
import type { Paint } from '../paint.ts';
import { counted } from '../words.ts';
import { StepView, stepLines } from './steps.ts';

export function recordView(record: ScenarioRecord, side: string, paint: Paint): string {
  const view = new StepView();
  const lines = [
    `${paint.strong(record.scenario)}${record.title === '' ? '' : `: ${record.title}`}`,
    paint.dim(side),
    ...record.ops.flatMap((answer) => stepLines(view.step(answer), paint)),
    ...endLines(record, paint),
  ];
  return `${lines.join('\n')}\n\n`;
}

/** How it ended, and what the log has of it. */
export function endLines({ result, ops, klog }: ScenarioRecord, paint: Paint): string[] {
  const count = counted(ops.length, 'operation');
  const log = klog.map((line) => `      ${line}`);
  switch (result) {
    case 'ok':
      return [...(log.length === 0 ? [] : [paint.dim('      the kernel logs:'), ...log]), `${paint.good('✓')} ${count} to the end`];
    case 'crash':
      return [`${paint.bad('✗')} the kernel crashes after ${count}:`, ...log];
    case 'timeout':
      return [`${paint.bad('✗')} after ${count} one does not come to its end:`, ...log];
    default:
      return [`${paint.bad('✗')} ${result} after ${count}:`, ...log];
  }
}
