/** What `daxmirror explore` prints for people. */
import type { ExploreFinding, Model, Phase, SearchOptions, SearchReport } from '../../explore/index.ts';
import { fieldInWords, type BugSwitch } from '../../profile/index.ts';
import type { Paint } from '../paint.ts';
import { counted, grouped } from '../words.ts';

/** A shipped model's name, or the file. */
function nameOf({ name, argument }: Model): string {
  return argument ?? name;
}

/** Ends shown of a model. */
const ENDS_MAX = 8;

export function listText(models: readonly Model[], paint: Paint): string {
  return models.map((model) => `${paint.strong(nameOf(model))}  ${model.about}\n  ${model.tasks} tasks, up to ${model.preemptions} preemptions${model.all ? ', then every schedule' : ''}${model.bugs.length === 0 ? '' : `; finds ${model.bugs.join(', ')}`}\n`).join('');
}

export function headText(model: Model, bug: BugSwitch | null, paint: Paint): string {
  return `${paint.strong(nameOf(model))}${bug === null ? '' : ` with bug ${bug}`}: ${model.about}\n`;
}

export function reportText(report: SearchReport, model: Model, seconds: number, paint: Paint): string {
  const { phases, finding, known, missed, estimate, coverage, ends } = report;
  const schedules = phases.reduce((sum, phase) => sum + phase.schedules + phase.pruned, 0);
  const steps = phases.reduce((sum, phase) => sum + phase.steps, 0);
  const lines = phases.map((phase) => phaseText(phase, finding !== null && phase === phases.at(-1)));
  const all = phases.find(({ phase }) => phase === 'all');
  if (estimate !== null && all === undefined) lines.push(`every schedule: ${orMore(estimate)} up to equivalence (guessed from random ones, mostly too low); not run`);
  else if (estimate !== null) lines.push(`there are ${orMore(Math.max(estimate, all?.schedules ?? 0))}, up to equivalence (guessed from random ones, mostly too low)`);
  if (missed !== null) lines.push(missed.length === 0 ? paint.good('the reduction comes to the same ends') : paint.bad(`the reduction misses ${missed.length} of the ends`));
  lines.push(`reached ${coverage.points} points, ${coverage.switches} switches at them; ${grouped(Math.round(schedules / seconds))} schedules/s, ${grouped(Math.round(steps / seconds))} steps/s`);
  for (const end of ends.slice(0, ENDS_MAX)) lines.push(`end: ${end}`);
  if (ends.length > ENDS_MAX) lines.push(`and ${ends.length - ENDS_MAX} other ends`);
  lines.push(...known.map(knownLine));
  lines.push(...(finding === null ? [paint.good(known.length === 0 ? 'nothing found' : 'nothing else found')] : findingLines(finding, model, paint)));
  return lines.map((line) => `  ${line}\n`).join('');
}

export function replayText(model: Model, bug: BugSwitch | null, outcome: { readonly end: string } | { readonly finding: ExploreFinding }, trace: readonly string[], paint: Paint): string {
  const lines = [...trace, ...('finding' in outcome ? findingLines(outcome.finding, model, paint) : [`end: ${outcome.end}`, paint.good('nothing found')])];
  return headText(model, bug, paint) + lines.map((line) => `  ${line}\n`).join('');
}

function knownLine({ rule, field, what, schedules, replay }: SearchReport['known'][number]): string {
  return `known ${rule}: ${what}; this kernel does so (profile field ${fieldInWords(field)}), in ${counted(schedules, 'schedule')}: --replay ${replay}`;
}

function findingLines({ text, preemptions, least, replay }: ExploreFinding, { argument }: Model, paint: Paint): string[] {
  const fewest = least ? ' (the fewest that do it)' : '';
  const [first = '', ...more] = text.split('\n');
  return [paint.bad(`FOUND ${first}`), ...more, `with ${preemptions} preemption${preemptions === 1 ? '' : 's'}${fewest}; again: daxmirror explore ${argument === undefined ? '' : `${argument} `}--replay ${replay}`];
}

/** The command that explores these models so. */
export function beginText(models: readonly Model[], bug: BugSwitch | null, { preemptions, all, random, seed, pct }: SearchOptions): string {
  const given = Object.entries({ bug: bug ?? undefined, preemptions, random, seed, pct }).filter(([, value]) => value !== undefined);
  return ['daxmirror explore', ...models.map(nameOf), ...given.map(([name, value]) => `--${name} ${value}`), ...(all === true ? ['--all'] : [])].join(' ');
}

function phaseText(phase: Phase, found: boolean): string {
  const { schedules, pruned, ends } = phase;
  const came = `${counted(schedules, 'schedule')}${pruned === 0 ? '' : ` and ${grouped(pruned)} cut short as equal`}, ${counted(ends, 'end')}`;
  return `${phaseName(phase)}: ${came}${saidOf(phase, found)}`;
}

function phaseName({ phase }: Phase): string {
  if (phase === 'all') return 'every schedule';
  if (phase === 'brute') return 'without reduction';
  if (phase === 'random') return 'random';
  if (phase === 'pct') return 'random priorities';
  return `up to ${phase.slice(1)} preemption${phase === 'p1' ? '' : 's'}`;
}

function saidOf({ phase, complete }: Phase, found: boolean): string {
  if (found) return '; stopped at what was found';
  if (phase === 'random' || phase === 'pct') return '; a sample';
  if (!complete) return '; not all of them';
  if (phase === 'brute') return '; all';
  return phase === 'all' ? '; all, up to equivalence' : '; bounded: all of these';
}

/** The power of ten below it: a few ways down weigh most, and random ones miss them. */
function orMore(count: number): string {
  return count < 1000 ? `${Math.round(count)} or more` : `10^${Math.floor(Math.log10(count))} or more`;
}

/** One line for a terminal while a phase goes on. */
export function progressText({ phases }: SearchReport, perSecond: number): string {
  const phase = phases.at(-1);
  if (phase === undefined) return '';
  const { schedules, pruned, ends } = phase;
  return `  ${phaseName(phase)}: ${counted(schedules, 'schedule')}${pruned === 0 ? '' : ` and ${grouped(pruned)} cut short`}, ${counted(ends, 'end')}, ${grouped(Math.round(perSecond))} schedules/s`;
}
