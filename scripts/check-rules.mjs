/**
 * A long clean run of every rule of check/: random scenarios of all families on all kernels, each process mirrored by a device on either
 * API and by a virtual machine, which touch what is mapped between the lines.
 *
 *   npm run check:rules -- [--ops 1000000] [--seed 1] [--length 24] [--profile v6.1] [--family ext4] [--bug NAME]
 *
 * Says how often each rule had something to look at. Exit code 1 where one is broken for which the kernel is not known: the finding and
 * the scenario are printed. The same seed runs the same.
 */
import { parseArgs } from 'node:util';
import { Checker, RULES, findingText } from '../dist/check/index.js';
import { DeviceMirror, attachLegacy, attachModern } from '../dist/dmirror/index.js';
import { HmmError, Livelock } from '../dist/errno.js';
import { Kvm } from '../dist/kvm/index.js';
import { PoisonSignal, madviseInject, pinUserPages, unpinUserPages } from '../dist/mm/index.js';
import { BUG_SWITCHES, PROFILES } from '../dist/profile/index.js';
import { operationsFor, parseScenario, probeOf, runScenario } from '../dist/scenario/index.js';
import { Random } from '../dist/sched/index.js';
import { FAMILY_NAMES, scenario } from '../test/oracle/random.mjs';

/** One in so many touches a page fails. */
const POISON_ONE_IN = 100;

/** Mirrors of every kind of one process. */
class Mirrors {
  constructor(mm, random) {
    this.mm = mm;
    this.random = random;
    this.pinned = [];
    this.devices = [['modern', attachModern], ['2019', attachLegacy]].map(([api, attach]) => {
      const device = new DeviceMirror(`${api} of ${mm.name}`, mm);
      device.port = attach(device);
      return device;
    });
    this.kvm = new Kvm(`guest of ${mm.name}`, mm);
    this.kvm.slots.add(0, 0, mm.pageTable.endVpn, 0);
  }

  /** Each touches a few pages of an area; what is refused is refused. Returns how many did. */
  touch() {
    const { mm, random } = this;
    const areas = mm.alive ? mm.vmas.collect(0, mm.pageTable.endVpn) : [];
    if (areas.length === 0) return 0;
    const area = areas[random.below(areas.length)];
    const vpn = area.start + random.below(Math.min(area.npages, 2 ** 20));
    const write = random.below(2) === 0;
    for (const device of this.devices) this.#try(device.fill(vpn, Math.min(vpn + 1 + random.below(16), area.end), write));
    this.#try(this.kvm.fault(vpn, write));
    if (random.below(POISON_ONE_IN) === 0) this.#try(madviseInject(mm, vpn, 1, 'hwpoison'));
    if (this.pinned.length > 0 && random.below(2) === 0) unpinUserPages(mm, this.pinned.splice(0));
    else if (this.pinned.length === 0) this.#try(this.#pin(vpn, 1 + random.below(3), { write, longterm: random.below(4) === 0 }));
    return this.devices.length + 2;
  }

  /** Nobody is to wait for what it holds: it is given back before the next line. */
  letGo() {
    unpinUserPages(this.mm, this.pinned.splice(0));
  }

  *#pin(vpn, npages, request) {
    this.pinned.push(...(yield* pinUserPages(this.mm, vpn, npages, request)).pfns);
  }

  #try(body) {
    try {
      this.mm.platform.sched.runToEnd('access', body);
    } catch (error) {
      if (!HmmError.is(error) && !(error instanceof Livelock) && !(error instanceof PoisonSignal)) throw error;
    }
  }
}

/** Runs one scenario; what was found, looked at and done. */
async function run(script, profile, bugs, seed) {
  let checker;
  let operations = 0;
  const random = new Random(BigInt(seed));
  const watch = (core) => {
    checker = new Checker(core);
    const mirrored = new Map();
    return {
      step(line, replay) {
        operations++;
        checker.step(line, replay);
        for (const mm of core.mms.slice(0, 2)) {
          if (mm.alive && !mirrored.has(mm)) mirrored.set(mm, new Mirrors(mm, random));
          if (!mm.alive) continue;
          operations += mirrored.get(mm).touch();
          checker.step(`mirrors touch after "${line}"`, replay);
          mirrored.get(mm).letGo();
        }
      },
    };
  };
  await runScenario(script, { profile, bugs, watch });
  checker.end('the end', script.name);
  checker.close();
  return { checker, operations };
}

function options() {
  const text = { type: 'string' };
  const { values } = parseArgs({ options: { ops: { ...text, default: '1000000' }, seed: { ...text, default: '1' }, length: { ...text, default: '24' }, profile: text, family: text, bug: text } });
  const known = { profile: Object.keys(PROFILES), family: FAMILY_NAMES, bug: BUG_SWITCHES };
  for (const [name, list] of Object.entries(known)) if (values[name] !== undefined && !list.includes(values[name])) throw new Error(`--${name} ${values[name]}: none of that name (${list.join(' ')})`);
  for (const name of ['ops', 'seed', 'length']) if (!/^[1-9]\d{0,8}$/.test(values[name])) throw new Error(`--${name} ${values[name]}: not a whole number from 1 on`);
  return values;
}

async function main() {
  const { ops, seed, length, profile, family, bug } = options();
  const profiles = profile === undefined ? Object.keys(PROFILES) : [profile];
  const families = family === undefined ? FAMILY_NAMES : [family];
  const looked = Object.fromEntries(Object.keys(RULES).map((rule) => [rule, 0]));
  const known = new Map();
  let [operations, scenarios] = [0, 0];
  for (let at = Number(seed); operations < Number(ops); at++) {
    for (const name of families) {
      for (const kernel of profiles) {
        if (operations >= Number(ops)) break;
        const text = scenario(name, at, Number(length));
        const script = parseScenario(`random-${name}-${at}.scn`, text, operationsFor(probeOf(kernel)));
        const { checker, operations: done } = await run(script, kernel, bug === undefined ? [] : [bug], at);
        operations += done;
        scenarios++;
        for (const rule of Object.keys(looked)) looked[rule] += checker.looked[rule];
        for (const finding of checker.findings) {
          if (finding.knownBy === null) return fail(finding, kernel, text, operations);
          const key = `${finding.rule} (${kernel}: ${finding.knownBy})`;
          known.set(key, (known.get(key) ?? 0) + 1);
        }
      }
    }
  }
  console.log(`clean: ${operations.toLocaleString('en')} operations in ${scenarios.toLocaleString('en')} scenarios, seeds from ${seed} on; how often each rule looked:`);
  for (const [rule, n] of Object.entries(looked)) console.log(`  ${rule.padEnd(20)}${n.toLocaleString('en').padStart(14)}${n === 0 ? '  never: not checked' : ''}`);
  for (const [what, n] of known) console.log(`  known of its kernel: ${n} ${what}`);
}

function fail(finding, kernel, text, operations) {
  console.log(`after ${operations} operations, on ${kernel}:\n${findingText(finding)}\n\n${text}`);
  process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error(`check-rules: ${error.message}`);
  if (!error.message.startsWith('--')) console.error(error.stack);
  process.exitCode = 2;
}
