/**
 * A driver that subscribes to an interval, removes it again and frees what it was about, while the range is invalidated twice: when
 * the removal returns, no callback of it runs and nobody calls it any more.
 */
import type { IntervalSub, NotifierRange } from '../../mm/index.ts';
import type { Sleepable } from '../../sched/index.ts';
import { Violation, type Model } from '../model.ts';

export const intervalRemove: Model = {
  name: 'interval-remove',
  about: 'mmu_interval_notifier_insert() and _remove() against invalidations of the range',
  tasks: 3,
  profile: 'v6.1',
  bugs: ['interval-remove-race'],
  preemptions: 2,
  all: true,
  build(world) {
    const mm = world.process();
    const at = world.map(mm, null, 1);
    const { sched } = world.platform;
    let [freed, calls] = [false, 0];
    function* invalidate(): Sleepable<boolean> {
      if (freed) throw new Violation('use-after-free', 'a callback of a subscription that was removed');
      calls++;
      if (sched.concurrent) yield sched.point('callback', mm.notifiers.touches);
      if (freed) throw new Violation('use-after-free', 'a subscription was freed while its callback runs');
      return true;
    }
    function* invalidation(): Sleepable<void> {
      const range: NotifierRange = { event: 'UNMAP', start: at, end: at + 1, blockable: true, owner: null };
      yield* mm.notifiers.start(range);
      if (sched.concurrent) yield sched.point('invalidation ends', mm.notifiers.touches);
      mm.notifiers.end(range);
    }
    const queued = (sub: IntervalSub): boolean => sub.node !== null || sub.deferred !== null;
    world.task('driver', (function* driver() {
      const sub = mm.notifiers.insert('driver', at, at + 1, invalidate);
      if (sched.concurrent) yield sched.point('inserted', mm.notifiers.touches);
      yield* mm.notifiers.remove(sub);
      if (queued(sub)) throw new Violation('use-after-free', 'a subscription is freed and still in the tree');
      freed = true;
    })(), mm.notifiers.touches);
    for (const name of ['one', 'two']) world.task(name, invalidation(), '');
    return () => `calls ${calls}, in flight ${mm.notifiers.active}`;
  },
};
