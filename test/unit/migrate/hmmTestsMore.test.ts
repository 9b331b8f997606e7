/**
 * The rest of the kernel's own HMM tests (tools/testing/selftests/mm/hmm-tests.c), by their kernel names, as scenarios: huge pages that
 * migrate, areas that are unmapped or moved while their pages are on the device, allocations that fail, exclusive access, hugetlb and page
 * cache. Each asserts what the kernel's test asserts: bytes, counts of pages, errnos.
 */
import { describe, expect, it } from 'vitest';
import { operationsFor, parseScenario, runScenario, type Answer } from '../../../dist/scenario/index.js';

/** Answers to a scenario's lines, in order. */
async function play(text: string, profile = 'v6.12'): Promise<readonly Answer[]> {
  const record = await runScenario(parseScenario('test.scn', text, operationsFor('modern')), { profile });
  expect(record.result).toBe('ok');
  return record.ops;
}

/** The last answer to an operation that begins so. */
function last(answers: readonly Answer[], begins: string): Answer {
  const found = answers.findLast(({ op }) => String(op).startsWith(begins));
  if (found === undefined) throw new Error(`nothing begins with ${begins}`);
  return found;
}

/** How many pages the runs of a walk or a migration have in all with this flag. */
function pagesWith(answer: Answer, member: string, flag: string): number {
  return (answer[member] as { n: number; f?: string; k?: string }[]).reduce((sum, run) => sum + ((run.f ?? '').includes(flag) || run.k === flag ? run.n : 0), 0);
}

/** Of todev and tosys: how many pages moved. */
function movedPages(answer: Answer | undefined): number {
  return ((answer?.['pages'] ?? []) as { n: number; moved?: boolean }[]).reduce((sum, run) => sum + (run.moved === true ? run.n : 0), 0);
}

describe('huge pages on the device', () => {
  it('migrate_anon_huge_empty', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\ntodev 0 a 2M\ndread a 8K owner=0\nsnap a 2M owner=0');
    expect(last(answers, 'todev')).toMatchObject({ err: 'ok', cpages: 512 });
    expect(last(answers, 'dread')).toMatchObject({ err: 'ok', bytes: [[8192, 0]] });
    expect(pagesWith(last(answers, 'snap'), 'pfns', 'dev0')).toBe(512);
  });

  it('migrate_anon_huge_zero', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\ntouch a r\ntodev 0 a 2M\npeek a 2M');
    expect(last(answers, 'todev')).toMatchObject({ err: 'ok', cpages: 512 });
    expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[2 ** 21, 0]] });
  });

  it('migrate_anon_huge_free', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\npoke a 2M 7\ntodev 0 a 2M\nadvise a 2M free\npeek a 8K');
    expect(last(answers, 'todev')).toMatchObject({ err: 'ok', cpages: 512 });
    expect(last(answers, 'advise a 2M free')).toMatchObject({ err: 'ok' });
    expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[8192, 7]] });
  });

  it('migrate_anon_huge_fault', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\npoke a 2M 7\ntodev 0 a 2M\npeek a 2M\ndevinfo 0');
    expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[2 ** 21, 7]] });
    expect(last(answers, 'devinfo')).toMatchObject({ used: 0 });
  });

  it('migrate_anon_huge_err: with nowhere to go everything is put back', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\npoke a 2M 7\ntodev 0 a 2M nodst\npeek a 2M\ntodev 0 a 2M\ntosys 0 a 2M nodst\nsnap a 2M owner=0\npeek a 2M');
    expect(movedPages(answers.find(({ op }) => op === 'todev 0 a 2M nodst'))).toBe(0);
    expect(pagesWith(last(answers, 'snap'), 'pfns', 'dev0')).toBe(512);
    expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[2 ** 21, 7]] });
  });

  it('migrate_anon_huge_zero_err', async () => {
    const answers = await play('map a 2M anon\nadvise a 2M hugepage\ntouch a r\ntodev 0 a 2M nodst\npeek a 2M');
    expect([last(answers, 'todev')['cpages'], movedPages(last(answers, 'todev'))]).toEqual([512, 0]);
    expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[2 ** 21, 0]] });
  });

  describe.each([['pages of 4K', ''], ['a huge page', 'advise a 2M hugepage\n']])('%s', (_name, huge) => {
    it.each(['0', '512K', '1M'])('migrate_partial_unmap_fault at %s', async (offset) => {
      const answers = await play(`map a 2M anon\n${huge}poke a 2M 7\ntodev 0 a 2M\nunmap a+${offset} 1M\n${offset === '0' ? 'peek a+1M 1M' : 'peek a 512K'}\ndevinfo 0`);
      expect(last(answers, 'todev')).toMatchObject({ err: 'ok', cpages: 512 });
      expect((last(answers, 'peek')['bytes'] as unknown[][])[0]?.[1]).toBe(7);
      expect(last(answers, 'devinfo')['used']).toBe(offset === '0' ? 0 : 512 - 256 - 128);
    });

    it.each(['', ' skew=4K', ' skew=1M'].flatMap((place) => ['', ' dontunmap'].map((flag) => `${place}${flag}`)))('migrate_remap_fault%s', async (how) => {
      const answers = await play(`map a 2M anon\n${huge}poke a 2M 7\ntodev 0 a 2M\nremap b a 2M 2M${how}\npeek b 2M\ndevinfo 0`);
      expect(last(answers, 'remap')).toMatchObject({ err: 'ok' });
      expect(last(answers, 'peek')).toMatchObject({ err: 'ok', bytes: [[2 ** 21, 7]] });
      expect(last(answers, 'devinfo')).toMatchObject({ used: 0 });
    });

    it('anon_write_child, of pages on the device', async () => {
      const answers = await play(`map a 2M anon\n${huge}poke a 2M 7\ntodev 0 a 2M\nfork c\nin c peek a 8K\nin c dwrite a 8K 9 owner=0\nin c peek a 8K\npeek a 8K\njoin c`);
      const peeks = answers.filter(({ op }) => String(op).startsWith('peek')).map(({ bytes }) => bytes);
      expect(last(answers, 'dwrite')).toMatchObject({ err: 'ok', done: 8192 }); // the child's look has brought these two back
      expect(peeks).toEqual([[[8192, 7]], [[8192, 9]], [[8192, 7]]]);
    });
  });
});

describe('what does not migrate, or not quite', () => {
  it('migrate_file_private: copies of a private file mapping go', async () => {
    const answers = await play('fs ext4 nodax\nopen f ext4:f\ntruncate f 1M\nmap a 1M f private\npoke a 1M 5\ntodev 0 a 1M\ndread a 8K owner=0\npread f 0 8K');
    expect(last(answers, 'todev')).toMatchObject({ err: 'ok', cpages: 256 });
    expect([last(answers, 'dread')['bytes'], last(answers, 'pread')['bytes']]).toEqual([[[8192, 5]], [[8192, 0]]]);
  });

  it('migrate_shared: shared anonymous memory stays where it is', async () => {
    const answers = await play('map a 64K anon shared\npoke a 64K 5\ntodev 0 a 64K\ndevinfo 0\npeek a 64K');
    expect(movedPages(last(answers, 'todev'))).toBe(0);
    expect(last(answers, 'devinfo')).toMatchObject({ used: 0 });
  });

  it('a DAX file, shared or private, is refused', async () => {
    for (const how of ['', ' private']) {
      const answers = await play(`fs xfs\nopen f xfs:f\npwrite f 0 2M 3\nmap a 2M f${how}\ntouch a r\ntodev 0 a 2M`);
      expect(last(answers, 'todev')).toMatchObject({ err: 'EINVAL' });
    }
  });

  it('snapshot, of pages on one device and on another', async () => {
    const answers = await play('map a 8K anon\npoke a 8K 1\ntodev 0 a 4K\ntodev 1 a+4K 4K\nsnap a 8K owner=0\nsnap a 8K owner=1');
    const [zero, one] = answers.filter(({ op }) => String(op).startsWith('snap')).map(({ pfns }) => (pfns as { f: string; k?: string }[]).map(({ f, k = '' }) => `${f}${k}`));
    expect([zero, one]).toEqual([['VWdev0', '-'], ['-', 'VWdev1']]);
  });
});

describe('exclusive access', () => {
  it('exclusive', async () => {
    const answers = await play('map a 16K anon\npoke a 16K 4\nexcl 0 a 16K\ntouch a w byte=5\npeek a 16K\nsnap a 16K');
    expect(last(answers, 'excl')).toMatchObject({ done: 4, granted: [[4, true]] });
    expect(last(answers, 'peek')).toMatchObject({ bytes: [[1, 5], [16383, 4]] });
    expect(pagesWith(last(answers, 'snap'), 'pfns', 'W'), 'nothing is exclusive any more').toBe(4);
  });

  it('exclusive_mprotect', async () => {
    const answers = await play('map a 16K anon\npoke a 16K 4\nexcl 0 a 16K\nprotect a 16K r\ndwrite a 4K 9\nfault a 4K w');
    expect([last(answers, 'dwrite')['err'], last(answers, 'fault')['err']]).toEqual(['EPERM', 'EPERM']);
  });

  it('exclusive_cow', async () => {
    const answers = await play('map a 4K anon\npoke a 4K 4\nexcl 0 a 4K\nfork c\ntouch a w byte=5\nin c touch a w byte=6\npeek a 4K\nin c peek a 4K\njoin c');
    const peeks = answers.filter(({ op }) => String(op).startsWith('peek')).map(({ bytes }) => bytes);
    expect(peeks).toEqual([[[1, 5], [4095, 4]], [[1, 6], [4095, 4]]]);
  });
});

describe('other kinds of memory', () => {
  it('anon_write_hugetlbfs', async () => {
    const answers = await play('map a 4M anon huge2m\ndwrite a 2M 9\npeek a 2M\nfault a 2M w');
    expect(last(answers, 'dwrite')).toMatchObject({ err: 'ok', done: 2 ** 21 });
    expect(last(answers, 'peek')).toMatchObject({ bytes: [[2 ** 21, 9]] });
    expect(last(answers, 'fault')['pfns']).toMatchObject([{ n: 512, f: 'VW', o: 9, k: 'hugetlb' }]);
  });

  it('compound', async () => {
    const answers = await play('map a 2M anon huge2m\ntouch a w\nsnap a 2M\nprotect a 2M r\nsnap a 2M');
    const [before, after] = answers.filter(({ op }) => String(op).startsWith('snap')).map(({ pfns }) => pfns);
    expect([before, after]).toMatchObject([[{ n: 512, f: 'VW', o: 9 }], [{ n: 512, f: 'V', o: 9 }]]);
  });

  it('mixedmap, of a private mapping of a DAX file', async () => {
    const answers = await play('fs ext4\nopen f ext4:f\npwrite f 0 4K 3\nmap a 4K f private\ntouch a r\nsnap a 4K');
    expect(last(answers, 'snap')['pfns']).toMatchObject([{ n: 1, f: 'V', k: 'ext4' }]);
  });

  it.each(['tmp', 'ext4'])('file_read and file_write, of %s in the page cache', async (place) => {
    const answers = await play(`${place === 'tmp' ? '' : `fs ${place} nodax\n`}open f ${place}:f\npwrite f 0 64K 3\nmap a 64K f\ndread a 64K\ndwrite a+4K 8K 9\npread f 0 64K\npeek a 64K`);
    expect(last(answers, 'dread')).toMatchObject({ err: 'ok', bytes: [[65536, 3]] });
    expect(last(answers, 'pread')['bytes']).toEqual([[4096, 3], [8192, 9], [53248, 3]]);
    expect(last(answers, 'peek')['bytes']).toEqual(last(answers, 'pread')['bytes']);
  });
});
