/**
 * Profile v5.2 against what a real v5.2.1 kernel answered (records-v5.2/: scenarios put to it line by line through a probe). The
 * defects of the 2019 API show in them: counts, words, livelocks, leaked references, lost invalidations.
 */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { KernelCrash } from '../../dist/errno.js';
import { Recording, type Answer } from '../support/record2019.ts';
import { checkPgmaps, makeMachine } from '../support/rig.ts';

afterEach(checkPgmaps);

interface RecordedOp extends Answer {
  readonly i: number;
  readonly op: string;
}

interface Expectation {
  /** lines, by number, that the rooms cannot carry out (yet) */
  readonly unsupported?: readonly number[];
  /** lines whose answer is set aside, and why */
  readonly aside?: Readonly<Record<number, string>>;
  /** the line at which the kernel crashed, and with what */
  readonly crash?: readonly [line: string, reason: RegExp];
  /** dev_pagemap references that the kernel leaks in it */
  readonly leaks?: number;
}

const RECORDS: Readonly<Record<string, Expectation>> = {
  'seed-count': {},
  'seed-gap-fault': { crash: ['fault a+16K 32K', /no VMA/] },
  'seed-1g-snapshot': {},
  'seed-1g-write-fault': { crash: ['fault a 4K w', /spinlock recursion/] },
  'seed-1g-mprotect': {},
  'seed-dying-1g': {},
  'seed-dying-4k': {},
  'seed-faults': {},
  'seed-faults-read-file': { unsupported: [1, 2, 3, 4, 5, 6, 7] },
  'seed-hole-dax-4k': { leaks: 4 },
  'seed-leak-unbind': { aside: { 17: 'the kernel counts the base references too, which are gone by then' }, leaks: 1 },
  'seed-nonblock': {},
  'seed-nonblock-busy': {},
  'seed-protnone': { unsupported: [9, 12, 13, 14, 15, 16, 17, 18] },
  'seed-valid': {},
  'seed-write-readonly-anon': {},
  'seed-zero-page-4k': {},
  'anon-4k': { unsupported: [10] },
  'anon-never-touched': { unsupported: [6] },
  'anon-req-per-page': {},
  'no-vma': { unsupported: [9] },
  'dax-ext4-mprotect': {},
  'dax-ext4-unbind': {},
  'dax-ext4-misaligned': { unsupported: [31] },
  'dax-ext4-truncate': {},
  'dax-ext4-written': { unsupported: [5, 18] },
  'dax-ext4-cold': { unsupported: [8, 12, 16, 22, 23] },
  'dax-ext4-two-vmas': {},
  'dax-xfs-hole-write': { unsupported: [12, 14, 15] },
  'dax-xfs-hole-read': { unsupported: [10, 11, 15, 17] },
  'dax-xfs-hole-read-4k': { unsupported: [11, 15] },
  'dax-xfs-munmap-part': {},
  'dax-xfs-two-mappings': {},
  'devdax-1g-mprotect': {},
  'devdax-1g-part': {},
  'devdax-2m-basic': { unsupported: [14, 15, 19, 21, 22, 24] },
  'devdax-2m-cold': { unsupported: [5, 9, 12, 13] },
  'dax-ext4-hole-read': { unsupported: [10, 11, 15, 17] },
  'dax-ext4-hole-read-4k': { unsupported: [11, 15] },
  'devdax-4k-basic': { unsupported: [14, 15] },
  'devdax-2m-unbind': {},
};

/** What is compared, where either side says it. */
const KEYS = ['err', 'code', 'count', 'faults', 'sem', 'valid', 'livelock', 'pfns', 'events', 'notifiers', 'pgmap', 'or', 'bytes', 'changed', 'done'];

describe('v5.2 answers as the recorded kernel did', () => {
  test.each(Object.keys(RECORDS))('%s', async (name) => {
    const expected = RECORDS[name] as Expectation;
    const rig = await makeMachine({ profile: 'v5.2', arenaBytes: 256 * 2 ** 20, ramPages: 65536 });
    const recording = new Recording(rig);
    const { ops } = JSON.parse(readFileSync(new URL(`records-v5.2/${name}.json`, import.meta.url), 'utf8'), dropCongruence) as { ops: RecordedOp[] };
    const unsupported: number[] = [];
    for (const recorded of ops) {
      const answer = recording.do(recorded.op);
      if (answer === null) unsupported.push(recorded.i);
      else if (expected.aside?.[recorded.i] === undefined) expect(compared(answer), `line ${recorded.i}: ${recorded.op}`).toEqual(compared(recorded));
    }
    expect(unsupported).toEqual(expected.unsupported ?? []);
    if (expected.crash !== undefined) {
      const [line, reason] = expected.crash;
      const crash = (): unknown => recording.do(line);
      expect(crash).toThrow(KernelCrash);
      expect(crash).toThrow(reason);
    }
    recording.end();
    rig.leaks = expected.leaks ?? 0;
  });
});

/** Which frames of RAM a 4K page got says nothing; of device frames `at` says it all. */
function dropCongruence(key: string, value: unknown): unknown {
  return key === 'cong' ? undefined : value;
}

function compared(answer: Answer): Answer {
  return Object.fromEntries(KEYS.filter((key) => answer[key] !== undefined).map((key) => [key, answer[key]]));
}
