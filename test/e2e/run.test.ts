/** `daxmirror run`: scenarios answered, recorded, compared and shown side by side; and what is refused, in one line. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, daxmirror, temporaryFolder, type Outcome } from '../support/cli.ts';

const folder = temporaryFolder();
const CONFORMANCE = path.join(ROOT, 'test', 'conformance');

function scenario(name: string): string {
  return path.join(CONFORMANCE, 'scenarios', `${name}.scn`);
}

function write(name: string, text: string | Uint8Array): string {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  return file;
}

function refused(outcome: Outcome, line: RegExp): void {
  expect(outcome).toMatchObject({ code: 2, stdout: '' });
  expect(outcome.stderr).toMatch(/^[^\n]+\n$/);
  expect(outcome.stderr).toMatch(line);
}

describe('for people', () => {
  const { code, stdout, stderr } = daxmirror(['run', scenario('dax-ext4-hole-read')]);

  it('each operation with how it went, then how it all ended', () => {
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^dax-ext4-hole-read: ext4 DAX, read fault on a hole/);
    expect(stdout).toContain('v6.1, modern API');
    expect(stdout).toMatch(/^ +3 {2}truncate f 4M +ok$/m);
    expect(stdout).toMatch(/^✓ 17 operations to the end$/m);
  });

  it('draws areas, invalidations and pages to scale', () => {
    expect(stdout).toMatch(/^ +\+ a\+0 +4M {2}rw-s {2}f\+0$/m);
    expect(stdout).toMatch(/^ +1 CLEAR +█{24}·{24} +\+0\.\.\+2M$/m);
    expect(stdout).toMatch(/^ +█{24}▒{24}$/m);
    expect(stdout).toMatch(/^ +▒ a\+2M +2M {2}V +zero {2}order 9 {2}aligned at 2M$/m);
  });

  it('a signal and a refusal are told with their words', () => {
    const shown = daxmirror(['run', write('signals.scn', 'map a 4K anon\ntouch a+8K w\nunmap a+1 4K\nfault a+4K 4K')]).stdout;
    expect(shown).toMatch(/touch a\+8K w +SIGSEGV MAPERR at a\+0x2000$/m);
    expect(shown).toMatch(/unmap a\+1 4K +EINVAL/);
    expect(shown).toMatch(/fault a\+4K 4K +EFAULT/);
  });

  it('has no colours where nobody sees them', () => {
    expect(stdout).not.toContain('\u001b');
  });
});

describe('how a scenario may end', () => {
  it('in a crash of the kernel, which is an answer', () => {
    const { code, stdout } = daxmirror(['run', scenario('seed-gap-fault'), '--profile', 'v5.2']);
    expect([code, /^✗ the kernel crashes after 3 operations:\n +\S.*no VMA/m.test(stdout)]).toEqual([0, true]);
  });

  it('in a wait without end, shown as who waits for whom', () => {
    const file = write('stuck.scn', 'fs ext4\nopen f ext4:f\npwrite f 0 8K\nmap a 8K f\npin p a 1 w\ntruncate f 0\nunpin p');
    const { code, stdout } = daxmirror(['run', file]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ after 5 operations one does not come to its end:\n +deadlock: main waits for a pinned page of f$/m);
  });

  it('with its time used up', () => {
    const file = write('slow.scn', `async t sleep 120000\n${'wait t 60000\n'.repeat(3)}`);
    expect(daxmirror(['run', file])).toMatchObject({ code: 1 });
  });
});

describe('records', () => {
  it('--json prints what the recorder would have written, byte for byte', () => {
    const { code, stdout } = daxmirror(['run', scenario('anon-mprotect'), '--json']);
    expect([code, stdout]).toEqual([0, readFileSync(path.join(CONFORMANCE, 'v6.1', 'anon-mprotect.json'), 'utf8')]);
  });

  it('--out writes one for each scenario', () => {
    const out = path.join(folder, 'out', 'deep');
    const { code, stdout } = daxmirror(['run', scenario('anon-mprotect'), scenario('no-vma'), '--out', out, '--profile', 'v6.12']);
    expect([code, stdout]).toEqual([0, 'anon-mprotect: ok, 18 of 18 operations answered\nno-vma: ok, 14 of 14 operations answered\n']);
    expect(readFileSync(path.join(out, 'anon-mprotect.json'), 'utf8')).toBe(readFileSync(path.join(CONFORMANCE, 'v6.12', 'anon-mprotect.json'), 'utf8'));
  });
});

describe('--against', () => {
  it('finds the kernel in KERNEL.json and says that all agrees', () => {
    const { code, stdout } = daxmirror(['run', scenario('dax-ext4-punch'), scenario('no-vma'), '--against', path.join(CONFORMANCE, 'v6.12')]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^✓ dax-ext4-punch: 30\/30 operations agree, \d+ in detail too$/m);
    expect(stdout).toMatch(/^✓ 2\/2 scenarios agree whole; /m);
  });

  const altered = path.join(folder, 'altered');
  mkdirSync(altered);
  const record = readFileSync(path.join(CONFORMANCE, 'v6.1', 'anon-mprotect.json'), 'utf8');
  writeFileSync(path.join(altered, 'anon-mprotect.json'), record.replace('"f":"VW"', '"f":"V"'));

  it('draws what the kernel answered beside what was answered here, and ends with 1', () => {
    const { code, stdout } = daxmirror(['run', scenario('anon-mprotect'), '--against', altered]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ anon-mprotect: 17\/18 operations agree/);
    expect(stdout).toMatch(/\[pfns\]\n +kernel +ok\n +▒ .*\n +here +ok\n +█ /);
  });

  it('--json gives the comparison as data', () => {
    const { code, stdout } = daxmirror(['run', scenario('anon-mprotect'), '--against', path.join(altered, 'anon-mprotect.json'), '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ scenarios: 1, whole: 0, ops: 18, agree: 17, results: [{ name: 'anon-mprotect', rows: [{ differs: ['pfns'] }] }] });
  });
});

describe('side by side', () => {
  it('two kernels, with what differs marked', () => {
    const { code, stdout } = daxmirror(['run', scenario('dax-ext4-mprotect'), '--compare-profile', 'v6.12']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ +v6\.1, modern API +│ v6\.12, modern API$/m);
    expect(stdout).toMatch(/≠ (pfns|events)/);
    expect(stdout).toMatch(/ ≠ /);
    expect(stdout).toMatch(/^\d+ operations: [1-9]\d* differ, \d+ more in detail$/m);
  });

  it('two kernels that answer the same', () => {
    expect(daxmirror(['run', scenario('anon-prot-none'), '--compare-profile', 'v6.12']).stdout).toMatch(/operations: 0 differ, 0 more in detail/);
  });

  it('both APIs on one kernel: what they only say differently is no difference', () => {
    const { code, stdout } = daxmirror(['run', scenario('anon-4k'), '--compare-api', '2019']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ +v6\.1, modern API +│ v6\.1, 2019 API$/m);
    expect(stdout).toMatch(/count 16/);
    expect(stdout).toMatch(/: 0 differ/);
  });
});

describe('what is refused', () => {
  const good = scenario('anon-4k');

  it.each([
    ['an operation nobody knows', 'map a 4M anon\n\n  fualt a 4K', /:3:3: no operation 'fualt' \(did you mean fault\?\)\n$/],
    ['a size with a wrong suffix', 'map a 4Q anon', /:1:7: map: a length .* is meant, not '4Q'/],
    ['a name nobody gave', 'touch b w', /:1:7: touch: no area 'b'\n$/],
    ['an endless sleep', 'sleep 999999999', /:1:7: sleep: 999999999 ms are too long/],
  ])('%s: file, line and column', (_, text, line) => {
    const file = write('bad.scn', text);
    const outcome = daxmirror(['run', good, file]);
    refused(outcome, line);
    expect(outcome.stderr.startsWith(file)).toBe(true);
  });

  it('bytes that are no text', () => {
    refused(daxmirror(['run', write('bytes.scn', Uint8Array.from({ length: 300 }, (_, i) => (i * 37) % 256))]), /bytes\.scn:1:1: no operation/);
  });

  it.each([
    ['a file that is not there', [path.join(folder, 'nowhere.scn')], /nowhere\.scn: no such file or directory/],
    ['a folder', [folder], /a folder, not a file/],
    ['a file without an operation', [write('empty.scn', '# nothing')], /empty\.scn: not one operation/],
    ['answers into what is no folder', [good, '--out', good], /anon-4k\.scn: not a folder/],
    ['answers into a folder that cannot be made', [good, '--out', '/proc/none/here'], /\/proc\/none: no such file or directory/],
    ['no file', [], /missing required argument 'FILE'/],
    ['a kernel misspelt', [good, '--profile', 'v61.2'], /'v61\.2' \(did you mean v6\.12\?\) is invalid/],
    ['a kernel nobody modelled', [good, '--profile', 'v7.0'], /Allowed choices are v6\.1/],
    ['a comparison with itself', [good, '--compare-profile', 'v6.1'], /v6\.1, modern API is compared with itself/],
    ['a record that is not there', [good, '--against', path.join(folder, 'none')], /none: no such file or directory/],
    ['a folder without its record', [good, '--against', folder], /anon-4k\.json: there is no such record/],
    ['records of another kernel', [good, '--against', path.join(CONFORMANCE, 'v6.12'), '--profile', 'v6.1'], /KERNEL\.json: these records are of kernel 6\.12\.\S+, not of v6\.1/],
    ['the record of another scenario', [good, '--against', path.join(CONFORMANCE, 'v6.1', 'no-vma.json')], /no-vma\.json: a record of scenario 'no-vma', not of 'anon-4k'/],
    ['one record for two scenarios', [good, scenario('no-vma'), '--against', path.join(CONFORMANCE, 'v6.1', 'no-vma.json')], /one record for 2 scenarios/],
  ])('%s', (_, args, line) => {
    refused(daxmirror(['run', ...args]), line);
  });

  const record = readFileSync(path.join(CONFORMANCE, 'v6.1', 'anon-4k.json'), 'utf8');
  it.each([
    ['no JSON', record.slice(0, 100), /not a record: /],
    ['JSON of something else', '[1, 2]', /not a record: no object/],
    ['a member missing', record.replace('"klog"', '"log"'), /not a record: it has no 'klog'/],
    ['a member nobody knows', record.replace('"title"', '"format": 2, "title"'), /a record of another version: nothing is known of its 'format'/],
    ['operations of another shape', record.replace('"op":', '"operation":'), /a record of another version: ops\[0\] is of a shape that is not known/],
    ['runs that are none', record.replace(/"pfns":\[\{/, '"pfns":[7,{'), /a record of another version: ops\[\d+\]/],
    ['an older version of the scenario', record.replace('"op":"map a 64K anon"', '"op":"map a 32K anon"'), /a record of another version of anon-4k: operation 1 is 'map a 32K anon' there, 'map a 64K anon' here/],
  ])('a record with %s, by name', (_, text, line) => {
    const file = write('record.json', text);
    const outcome = daxmirror(['run', good, '--against', file]);
    refused(outcome, line);
    expect(outcome.stderr).toContain('record.json: ');
  });

  it('a kernel of which there is no profile', () => {
    const other = path.join(folder, 'other');
    mkdirSync(other);
    copyFileSync(path.join(CONFORMANCE, 'v6.1', 'anon-4k.json'), path.join(other, 'anon-4k.json'));
    writeFileSync(path.join(other, 'KERNEL.json'), '{"kernel":"6.6.30-generic (builder) #1"}');
    refused(daxmirror(['run', good, '--against', other]), /these records are of kernel 6\.6\.30-generic, of which there is no profile/);
  });
});
