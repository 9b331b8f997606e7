/** A scenario file is read as a whole before anything runs; what is wrong with it is one line with its place. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ScenarioError, operationsFor, parseScenario, type Script } from '../../../dist/scenario/index.js';

function parse(text: string): Script {
  return parseScenario('some/where/x.scn', text, operationsFor('modern'));
}

/** `line:column: what` of the error. */
function wrong(text: string): string {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ScenarioError) return error.message.replace('some/where/x.scn:', '');
    throw error;
  }
  return 'nothing wrong';
}

describe('what a file is made of', () => {
  test('title, isolation, operations with their texts', () => {
    const script = parse('# a title \n# isolated\n\n\tmap a 4M anon \r\n # more\n  touch a+4K w byte=0x7\n');
    expect([script.name, script.title, script.isolated]).toEqual(['x', 'a title', true]);
    expect(script.lines.map(({ number, op, text }) => [number, op, text])).toEqual([[4, 'map', 'map a 4M anon '], [6, 'touch', 'touch a+4K w byte=0x7']]);
  });

  test('options stand in any order, also before a word that is still to come', () => {
    const [, touch] = parse('map a 4M anon\ntouch a n=3 w step=8K').lines;
    expect([touch?.args.word('r|w'), touch?.args.number('n'), touch?.args.size('step')]).toEqual(['w', 3, 8192]);
  });

  test('a name may be that of an option', () => {
    const [, pin] = parse('map a 4M anon\npin w a 4 w').lines;
    expect([pin?.args.word('ID'), pin?.args.has('w')]).toEqual(['w', true]);
  });

  test('the operation inside async and in is read like any other', () => {
    const lines = parse('map a 4M anon\nfork c\nin c touch a  w\nasync t in c peek a 4K').lines;
    expect([lines[2]?.args.inner?.text, lines[3]?.args.inner?.args.inner?.text]).toEqual(['touch a w', 'peek a 4K']);
  });
});

describe('wrong words', () => {
  test.each([
    ['an operation nobody knows', 'map a 4M anon\n fualt a 4K', "2:2: no operation 'fualt' (did you mean fault?)"],
    ['with nothing near', 'frobnicate a', "1:1: no operation 'frobnicate'"],
    ['inside another', 'async t  tuoch 4K w', "1:10: no operation 'tuoch' (did you mean touch?)"],
    ['a missing word', 'map a 4M', '1:1: map: WHAT is missing'],
    ['a word too many', 'map a 4M anon\nunmap a 4M now', "2:12: unmap: 'now' is one word too many"],
    ['an option nobody knows', 'map a 4M anon populat', "1:15: map: no option 'populat' (did you mean populate?)"],
    ['an option without its value', 'map a 4M anon off', '1:15: map: off needs a value'],
    ['an option with a value too many', 'map a 4M anon populate=1', '1:15: map: populate takes no value'],
    ['a size with a wrong suffix', 'map a 4Q anon', "1:7: map: a length (with K, M, G or P) is meant, not '4Q'"],
    ['a size beyond all memory', 'map a 9999999999999G anon', '1:7: map: a length'],
    ['a number that the guest would take for octal', 'map a 010K anon', '1:7: map: a length'],
    ['a protection', 'map a 4M anon prot=rq', '1:15: map: a protection'],
    ['one of several words', 'map a 4M anon\ntouch a x', "2:9: touch: one of r, w is meant, not 'x'"],
    ['an address', 'snap a++1 4K', '1:6: snap: an address'],
    ['a byte', 'map a 4M anon\npoke a 4K 256', "2:11: poke: a byte is meant, not '256'"],
    ['a name that is none', 'map a-b 4M anon', '1:5: map: a name'],
    ['a long name', `map ${'a'.repeat(24)} 4M anon`, '1:5: map: a name'],
    ['requests by page', 'map a 4M anon\nhmm a 4M req=1:x', "2:10: hmm: requests by page (0:f,2-5:fw) is meant, not '1:x'"],
  ])('%s', (_, text, where) => {
    expect(wrong(text)).toContain(where);
  });
});

describe('names that nobody gave', () => {
  test.each([
    ['an area', 'map b 4M anon\ntouch a w', "2:7: touch: no area 'a' (known: b)"],
    ['an area that comes later', 'touch a w\nmap a 4M anon', "1:7: touch: no area 'a'"],
    ['an area in at=', 'map a 4M anon at=b+4M', "1:15: map: no area 'b'"],
    ['a file', 'map a 4M f', "1:10: map: no file 'f'"],
    ['a mirror', 'map m 4M anon\nevents m', "2:8: events: no mirror 'm'"],
    ['pins', 'unpin p', "1:7: unpin: no set of pins 'p'"],
    ['a child', 'in c note', "1:4: in: no child 'c'"],
    ['a thread', 'wait t', "1:6: wait: no thread 't'"],
    ['names of objects in this language', 'map constructor 4M __proto__', "1:20: map: no file '__proto__'"],
  ])('%s', (_, text, where) => {
    expect(wrong(text)).toContain(where);
  });

  test.each([
    ['given by a line that may fail', 'open f ext4:f\nmap a 4M f\ntouch a w'],
    ['taken back since: what happens then is the guest to say', 'map a 4M anon\nmirror m a 4M\nunmirror m\nevents m'],
    ["a child's own, and its parent's", 'map a 4M anon\nfork c\nin c map b 4M anon\nin c touch b w\nin c touch a w'],
    ['special areas and numbers', 'snap [vvar] 4K\nsnap [stack]+4K 4K\nsnap 0x1000 4K'],
  ])('%s', (_, text) => {
    expect(wrong(text)).toBe('nothing wrong');
  });
});

describe('too much', () => {
  test.each([
    ['operations', 'note\n'.repeat(401), '401:1: more than 400 operations'],
    ['words', `note${' x'.repeat(24)}`, '1:52: more than 24 words'],
    ['bytes in a line', `note ${'ü'.repeat(256)}`, '1:1: the line is of 517 bytes, more than 510'],
    ['sleep at once', 'sleep 99999999', '1:7: sleep: 99999999 ms are too long'],
    ['sleep in all', 'sleep 100000\nnote\nsleep 100000', '3:1: sleep: 200000 ms of sleep in all'],
    ['sleep of a thread', 'async t sleep 120001', '1:15: sleep: 120001 ms are too long'],
    ['memory', 'map a 4M anon\npeek a 2G', '2:8: peek: 2G is more than 256M'],
    ['touches', 'map a 4M anon\ntouch a w n=9999999', '2:11: touch: 9999999 touches are more than 1048576'],
  ])('%s', (_, text, where) => {
    expect(wrong(text)).toContain(where);
  });

  test('as much as the guest takes is not too much', () => {
    expect(parse('note\n'.repeat(400)).lines).toHaveLength(400);
    expect(wrong(`# ${'x'.repeat(5000)}\nnote${' x'.repeat(23)}`)).toBe('nothing wrong');
  });
});

describe('any bytes', () => {
  /** Ends, and with nothing but a script or a ScenarioError of one line. */
  function survives(text: string): void {
    expect(wrong(text)).not.toContain('\n');
  }

  test('of whatever values', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => survives(Buffer.from(bytes).toString('utf8'))), { numRuns: 300 });
  });

  test('in words of the language, well put and not', () => {
    const known = ['a', 'b', 'f', 'anon', 'w', 'r', '4K', '2M', '0', '-1', '1e9', 'a+4K', 'a+', '[vvar]', 'ext4:f', 'prot=', 'off=3P', 'req=0-99:f', '=', '#', '# isolated', '__proto__', 'constructor', 'toString', '\t', '\r', '\0', '9'.repeat(40)];
    const word = fc.oneof(fc.constantFrom(...known), fc.constantFrom(...operationsFor('modern').keys()), fc.string({ maxLength: 8 }));
    const line = fc.array(word, { maxLength: 7 }).map((words) => words.join(' '));
    fc.assert(fc.property(fc.array(line, { maxLength: 12 }), (lines) => survives(lines.join('\n'))), { numRuns: 1000 });
  });
});
