#!/usr/bin/env node
/**
 * Random scenarios, to be put to a kernel and to the model: where the two differ the model was a guess.
 *
 *   node test/oracle/random.mjs DIR FAMILY [--count 20] [--seed 1] [--length 24]
 *
 * Families: anon thp fork remap private ext4 xfs reflink devdax cache hugetlb gup placed tree device devices. One seed, one text.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const KIB = 1024;
const MIB = 1024 * KIB;

/** xorshift32 over a seed and a name: numbers in [0, n). */
function chance(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % n;
  };
}

/** One scenario in the making: what is mapped, open and mirrored, and the lines so far. */
class Draft {
  constructor(random, family) {
    this.random = random;
    this.family = family;
    this.lines = [];
    this.areas = [];
    this.files = [];
    this.mirrors = [];
    this.children = [];
    /** children that do what the family does, youngest last */
    this.kids = [];
    this.pins = [];
    this.next = 0;
  }

  /** A child, forked now: its lines are this one's, it has what this one has, and names of its own. */
  fork() {
    const id = this.id('c');
    this.add(`fork ${id}`);
    const kid = new Draft(this.random, this.family);
    kid.areas = [...this.areas];
    kid.files = this.files;
    kid.lines = this.lines;
    kid.add = (line) => this.add(`in ${id} ${line}`);
    kid.id = (letter) => this.id(letter);
    kid.join = () => {
      kid.joinAll();
      this.add(`join ${id}`);
    };
    const area = kid.pick(kid.areas);
    const mirror = kid.id('w');
    kid.add(`mirror ${mirror} ${area.id} ${size(area.bytes)}`);
    kid.mirrors.push(mirror);
    this.kids.push(kid);
  }

  joinAll() {
    for (const pin of this.pins.splice(0)) this.add(`unpin ${pin}`);
    while (this.kids.length > 0) this.kids.pop().join();
  }

  pick(list) {
    return list[this.random(list.length)];
  }

  id(letter) {
    return `${letter}${this.next++}`;
  }

  add(line) {
    this.lines.push(line);
  }

  /** A place in an area and a length that stays in it (mostly). */
  range() {
    const area = this.pick(this.areas);
    const offset = Math.min(this.pick([0, 0, 4 * KIB, 8 * KIB, 1 * MIB, 2 * MIB - 4 * KIB, 2 * MIB, 2 * MIB, 2 * MIB + 4 * KIB, 3 * MIB, 4 * MIB]), area.bytes - 4 * KIB);
    const length = Math.min(this.pick([4 * KIB, 4 * KIB, 8 * KIB, 64 * KIB, 1 * MIB, 2 * MIB, 2 * MIB, 2 * MIB + 8 * KIB, 4 * MIB]), area.bytes - offset);
    return [`${area.id}${offset === 0 ? '' : `+${size(offset)}`}`, size(length)];
  }

  page() {
    return this.range()[0];
  }

  look() {
    const area = this.pick(this.areas);
    this.add(`snap ${area.id} ${size(area.bytes)}`);
    for (const mirror of this.mirrors) this.add(`events ${mirror}`);
  }
}

function size(bytes) {
  if (bytes % MIB === 0) return `${bytes / MIB}M`;
  return `${bytes / KIB}K`;
}

// ── what can be done; [weight, line] ──

const COMMON = [
  [6, (d) => d.add(`touch ${d.page()} ${d.pick(['r', 'w'])}`)],
  [2, (d) => d.add(`touch ${d.page()} ${d.pick(['r', 'w'])} n=${d.pick([2, 3, 16])} step=${d.pick(['4K', '8K', '256K'])}`.replace(/ n=16 step=256K/, ' n=3 step=256K'))],
  [4, (d) => d.add(`fault ${d.range().join(' ')}${d.pick([' w', ' w', ' r'])}`)],
  [3, (d) => d.look()],
  [2, (d) => d.add(`unmap ${d.range().join(' ')}`)],
  [3, (d) => d.add(`protect ${d.range().join(' ')} ${d.pick(['r', 'r', 'rw', 'rw', '-'])}`)],
  [2, (d) => d.add(`advise ${d.range().join(' ')} dontneed`)],
  [1, (d) => d.add(`dwrite ${d.page()} 4K ${1 + d.random(9)}`)],
  [1, (d) => d.add(`dread ${d.page()} 4K`)],
  [2, (d) => d.add(`hmm ${d.range().join(' ')}${d.pick(['', ' def=f', ' def=fw'])}${d.pick([' mask=fw req=0:f', ' mask=fw req=0:fw', ' mask=f req=0:fw', ' req=0:fw'])}`)],
  [1, (d) => d.add(`peek ${d.page()} 8K`)],
];
const ADVICE = [
  [2, (d) => d.add(`advise ${d.range().join(' ')} ${d.pick(['free', 'cold', 'pageout', 'willneed', 'populate_read', 'populate_write', 'remove', 'normal'])}`)],
  [1, (d) => d.add(`mlock ${d.range().join(' ')}`)],
  [1, (d) => d.add(`munlock ${d.range().join(' ')}`)],
];
const THP = [
  [2, (d) => d.add(`advise ${d.range().join(' ')} ${d.pick(['hugepage', 'hugepage', 'nohugepage', 'collapse'])}`)],
];
const PLACED = [
  [2, (d) => {
    const [at, length] = d.range();
    const id = d.id('b');
    const what = d.files.length > 0 && d.random(2) === 0 ? d.pick(d.files) : 'anon';
    d.add(`map ${id} ${length} ${what}${d.pick(['', '', ' prot=r', ' private'])} at=${at}`.replace('anon private', 'anon'));
  }],
];
const FORK = [
  [3, (d) => {
    const id = d.id('c');
    d.add(`fork ${id}`);
    d.children.push(id);
  }],
  [4, (d) => {
    if (d.children.length > 0) d.add(`in ${d.pick(d.children)} ${d.pick(['touch', 'touch', 'snap', 'fault', 'unmap'])} ${d.page()}`.replace(/(touch \S+)$/, `$1 ${d.pick(['r', 'w'])}`).replace(/(snap|fault|unmap) (\S+)$/, '$1 $2 8K'));
  }],
  [1, (d) => {
    if (d.children.length > 0) d.add(`join ${d.children.splice(d.random(d.children.length), 1)[0]}`);
  }],
  [1, (d) => d.add(`advise ${d.range().join(' ')} ${d.pick(['dontfork', 'dofork', 'wipeonfork'])}`)],
];
/** A family of processes: the youngest goes first, as who is older is held by it. */
const TREE = [
  [2, (d) => d.kids.length < 3 && d.fork()],
  [1, (d) => d.kids.length > 0 && d.kids.pop().join()],
  [2, (d) => {
    if (d.pins.length > 1) return;
    d.pins.push(d.id('p'));
    d.add(`pin ${d.pins.at(-1)} ${d.page()} ${d.pick([1, 2, 16])}${d.pick(['', ' w', ' w longterm'])}`);
  }],
  [1, (d) => d.pins.length > 0 && d.add(`unpin ${d.pins.pop()}`)],
  [1, (d) => d.add(`advise ${d.range().join(' ')} ${d.pick(['dontfork', 'dofork', 'wipeonfork'])}`)],
];
const REMAP = [
  [4, (d) => {
    const [at, length] = d.range();
    const id = d.id('r');
    const grown = d.pick([length, length, '4K', '2M', '6M']);
    d.add(`remap ${id} ${at} ${length} ${grown}${d.pick(['', '', '', ' inplace', ' skew=4K', ' skew=1M', d.family === 'remap' && grown === length ? ' dontunmap' : ''])}`);
    d.areas.push({ id, bytes: grown === '4K' ? 4 * KIB : grown.endsWith('M') ? Number.parseInt(grown, 10) * MIB : Number.parseInt(grown, 10) * KIB });
  }],
];
const FILE = [
  [2, (d) => d.add(`pwrite ${d.pick(d.files)} ${d.pick(['0', '4K', '1M', '2M', '3M'])} ${d.pick(['4K', '8K', '1M', '2M'])} ${1 + d.random(9)}`)],
  [1, (d) => d.add(`pread ${d.pick(d.files)} ${d.pick(['0', '1M', '2M'])} 8K`)],
  [2, (d) => d.add(`truncate ${d.pick(d.files)} ${d.pick(['0', '4K', '1M', '2M', '4M', '8M', '3M'])}`)],
  [1, (d) => d.add(`fsync ${d.pick(d.files)}`)],
  [1, (d) => d.add(`msync ${d.range().join(' ')}`)],
  [3, (d) => d.add(`falloc ${d.pick(d.files)} ${d.pick(['alloc', 'keep', 'punch', 'punch', 'zero', 'collapse', 'insert'])} ${d.pick(['0', '4K', '1M', '2M', '2M', '4M'])} ${d.pick(['4K', '8K', '1M', '2M', '2M', '4M'])}`)],
  [1, (d) => d.add(`extents ${d.pick(d.files)}`)],
  [1, (d) => d.add(`stat ${d.pick(d.files)}`)],
];
const CLONE = [
  [3, (d) => d.add(`clone ${d.pick(d.files)} ${d.pick(d.files)}${d.pick(['', ' 0 2M 2M', ' 0 4K 4K', ' 2M 2M 0', ' 1M 1M 3M'])}`)],
  [1, (d) => d.add(`falloc ${d.pick(d.files)} unshare 0 4M`)],
];
const PINS = [
  [3, (d) => {
    const id = d.id('p');
    d.add(`pin ${id} ${d.page()} ${d.pick([1, 1, 2, 16])}${d.pick(['', ' w', ' w longterm', ' longterm'])}`);
    d.add(`unpin ${id}`);
  }],
];
const DEVICE = [
  [4, (d) => d.add(`todev ${d.random(2)} ${d.range().join(' ')}${d.pick(['', '', '', ' sel=system+private', ' nodst', ' whole'])}`)],
  [2, (d) => d.add(`tosys ${d.random(2)} ${d.range().join(' ')}`)],
  [1, (d) => d.add(`evict ${d.random(2)}`)],
  [1, (d) => d.add(`devinfo ${d.random(2)}`)],
  [2, (d) => d.add(`excl ${d.random(2)} ${d.page()} 8K`)],
  [2, (d) => d.add(`snap ${d.range().join(' ')} owner=${d.random(2)}`)],
  [2, (d) => d.add(`fault ${d.range().join(' ')}${d.pick([' w', ' r'])} owner=${d.random(2)}`)],
];
/** What the family `device` does not: bytes and places in what a device has for itself, several ranges of rights, pages held. */
const DEVICES = [
  [3, (d) => d.add(`excl ${d.random(2)} ${d.range().join(' ').replace(/ [24]M$/, ' 64K')} ${1 + d.random(9)}`)],
  [3, (d) => d.add(`protect ${d.page()} ${d.pick(['4K', '8K', '64K', '2M'])} ${d.pick(['r', 'rw', 'rw', '-'])}`)],
  [2, (d) => d.add(`todev ${d.random(2)} ${d.page()} ${d.pick(['64K', '1M', '4M'])} sel=${d.pick(['private', 'system+private'])}${d.pick(['', ' whole'])}`)],
  [1, (d) => d.add(`tosys ${d.random(2)} ${d.range().join(' ')} ${d.pick(['nodst', 'whole', 'sel=system+private'])}`)],
  [2, (d) => d.add(`hmm ${d.range().join(' ')} mask=fw req=0:${d.pick(['f', 'fw'])},1:fw,3:f owner=${d.random(2)}`)],
  [1, (d) => d.add(`dwrite ${d.page()} 8K ${1 + d.random(9)}`)],
  [1, (d) => d.add(`page ${d.page()} owner=${d.random(2)}`)],
  [1, (d) => d.add(`smaps ${d.pick(d.areas).id}`)],
  [1, (d) => {
    const id = d.id('t');
    d.add(`async ${id} ${d.pick(['todev', 'tosys'])} ${d.random(2)} ${d.page()} ${d.pick(['8K', '64K', '2M'])} hold=600`);
    d.add('sleep 200');
    d.add(d.pick([`protect ${d.page()} 64K ${d.pick(['r', 'rw'])}`, `unmap ${d.page()} 8K`, `advise ${d.page()} 64K ${d.pick(['dontneed', 'free', 'cold', 'pageout'])}`, `snap ${d.range().join(' ')} owner=0`]));
    d.add(`wait ${id} 3000`);
  }],
];

// ── how a family begins ──

function anon(d, bytes, ...flags) {
  const id = d.id('a');
  d.add(`map ${id} ${size(bytes)} anon${flags.map((flag) => ` ${flag}`).join('')}`);
  d.areas.push({ id, bytes });
  return id;
}

function mapped(d, what, bytes, ...flags) {
  const id = d.id('m');
  d.add(`map ${id} ${size(bytes)} ${what}${flags.map((flag) => ` ${flag}`).join('')}`);
  d.areas.push({ id, bytes });
}

function file(d, place) {
  const id = d.id('f');
  d.add(`open ${id} ${place}:${id} trunc`);
  d.files.push(id);
  return id;
}

function files(d, place, count, ...flags) {
  for (let i = 0; i < count; i++) {
    const id = file(d, place);
    d.add(d.pick([`falloc ${id} alloc 0 4M`, `truncate ${id} 4M`, `pwrite ${id} 0 4M ${3 + i}`]));
    mapped(d, id, 4 * MIB, ...flags);
  }
}

const skews = ['', '', '', 'skew=4K', 'skew=1M'];
const flagsOf = (...flags) => flags.filter((flag) => flag !== '');

const FAMILIES = {
  anon: [(d) => anon(d, 6 * MIB, ...flagsOf(d.pick(['', '', 'shared', 'populate', 'locked', 'prot=r']))), [COMMON, ADVICE]],
  thp: [(d) => {
    const id = anon(d, 6 * MIB, ...flagsOf(d.pick(skews)));
    d.add(`advise ${id} 6M hugepage`);
  }, [COMMON, COMMON, ADVICE, THP]],
  fork: [(d) => {
    const id = anon(d, 6 * MIB, ...flagsOf(d.pick(['', '', 'shared'])));
    if (d.random(2) === 0) d.add(`advise ${id} 6M hugepage`);
  }, [COMMON, FORK, FORK]],
  remap: [(d) => {
    const id = anon(d, 6 * MIB);
    if (d.random(2) === 0) d.add(`advise ${id} 6M hugepage`);
  }, [COMMON, REMAP]],
  tree: [(d) => {
    const id = anon(d, 6 * MIB, ...flagsOf(d.pick(skews)));
    if (d.random(2) === 0) d.add(`advise ${id} 6M hugepage`);
    d.pick([
      () => {},
      () => anon(d, 4 * MIB, d.pick(['shared', 'huge2m'])),
      () => {
        d.add('memfd f');
        d.add('truncate f 4M');
        d.files.push('f');
        mapped(d, 'f', 4 * MIB, d.pick(['shared', 'private']));
      },
      () => {
        const place = d.pick(['ext4', 'xfs']);
        d.add(`fs ${place}`);
        files(d, place, 1, d.pick(['shared', 'private']));
      },
    ])();
  }, [COMMON, COMMON, ADVICE, THP, REMAP, TREE]],
  private: [(d) => {
    const place = d.pick(['ext4', 'xfs']);
    d.add(`fs ${place}`);
    files(d, place, 1, 'private', ...flagsOf(d.pick(skews)));
    mapped(d, d.files[0], 4 * MIB);
  }, [COMMON, FILE, ADVICE, FORK, REMAP]],
  ext4: [(d) => {
    d.add('fs ext4');
    files(d, 'ext4', 1, ...flagsOf(d.pick(skews), d.pick(['', '', '', 'sync'])));
    mapped(d, d.files[0], 4 * MIB, ...flagsOf(d.pick(['', 'private', 'skew=4K'])));
  }, [COMMON, FILE, FILE, ADVICE]],
  xfs: [(d) => {
    const place = d.pick(['xfs', 'xfsn']);
    d.add(`fs ${place}`);
    files(d, place, 1, ...flagsOf(d.pick(skews), d.pick(['', '', '', 'sync'])));
    mapped(d, d.files[0], 4 * MIB, ...flagsOf(d.pick(['', 'private', 'skew=4K'])));
  }, [COMMON, FILE, FILE, ADVICE]],
  reflink: [(d) => {
    d.add('fs xfs');
    files(d, 'xfs', 2);
  }, [COMMON, FILE, CLONE]],
  devdax: [(d) => {
    const place = d.pick(['dax2m', 'dax4k', 'dax2m']);
    d.add(`open d dev:${place}`);
    d.add('map z 16M d');
    d.add('poke z 16M 0');
    d.add('unmap z 16M');
    mapped(d, 'd', 6 * MIB, ...flagsOf(d.pick(['', '', 'off=2M', 'off=4K', 'private'])));
    mapped(d, 'd', 4 * MIB);
  }, [COMMON, ADVICE, FORK, REMAP, PINS]],
  cache: [(d) => {
    const place = d.pick(['ext4', 'xfs', 'tmp']);
    if (place !== 'tmp') d.add(`fs ${place} nodax`);
    files(d, place, 1, ...flagsOf(d.pick(['', 'private'])));
    mapped(d, d.files[0], 4 * MIB);
  }, [COMMON, FILE, ADVICE, FORK]],
  hugetlb: [(d) => {
    if (d.random(2) === 0) anon(d, 8 * MIB, 'huge2m', ...flagsOf(d.pick(['', 'shared'])));
    else {
      d.add('memfd f huge2m');
      d.files.push('f');
      d.add('truncate f 8M');
      mapped(d, 'f', 8 * MIB, ...flagsOf(d.pick(['', 'private'])));
    }
  }, [COMMON, FORK, [[1, (d) => d.files.length > 0 && d.add(`${d.pick(['truncate f 4M', 'truncate f 8M', 'falloc f punch 2M 2M', 'falloc f punch 0 4M'])}`)]]]],
  gup: [(d) => {
    if (d.random(2) === 0) files(d, (d.add('fs ext4'), 'ext4'), 1, ...flagsOf(d.pick(['', 'private'])));
    else anon(d, 6 * MIB);
  }, [COMMON, PINS, PINS, FORK]],
  placed: [(d) => {
    const id = anon(d, 6 * MIB, ...flagsOf(d.pick(['', 'shared'])));
    if (d.random(2) === 0) d.add(`advise ${id} 6M hugepage`);
    const place = d.pick(['ext4', 'xfs', 'tmp']);
    if (place !== 'tmp') d.add(`fs ${place}`);
    files(d, place, 1, ...flagsOf(d.pick(['', 'private', 'skew=1M'])));
  }, [COMMON, COMMON, PLACED, PLACED, FORK, REMAP, ADVICE]],
  device: [(d) => {
    const id = anon(d, 6 * MIB);
    if (d.random(3) === 0) d.add(`advise ${id} 6M hugepage`);
  }, [COMMON, DEVICE, DEVICE, FORK, REMAP, PINS]],
  devices: [(d) => {
    for (const id of ['x', 'y', 'z']) d.add(`async ${id} sleep 20`);
    for (const id of ['x', 'y', 'z']) d.add(`wait ${id}`);
    d.pick([
      () => anon(d, 6 * MIB, ...flagsOf(d.pick(skews))),
      () => {
        const id = anon(d, 6 * MIB, ...flagsOf(d.pick(skews)));
        d.add(`advise ${id} 6M hugepage`);
      },
      () => {
        d.add('memfd f');
        d.add('truncate f 4M');
        d.files.push('f');
        mapped(d, 'f', 4 * MIB, 'private');
      },
      () => {
        const place = d.pick(['ext4', 'xfs']);
        d.add(`fs ${place}`);
        files(d, place, 1, 'private');
      },
    ])();
    for (const { id } of d.areas.slice(0, 1)) d.add(`poke ${id} ${d.pick(['64K', '1M', '2M'])} 3`);
  }, [COMMON, ADVICE, THP, DEVICE, DEVICE, DEVICES, DEVICES, TREE, TREE, REMAP]],
};

export const FAMILY_NAMES = Object.keys(FAMILIES);

/** A scenario's text: the same for the same three. */
export function scenario(family, seed, length) {
  const random = chance(seed * 7919 + family.length * 104729 + family.charCodeAt(0));
  for (let i = 0; i < 8; i++) random(2);
  const draft = new Draft(random, family);
  const [begin, groups] = FAMILIES[family];
  begin(draft);
  for (const area of draft.areas.slice(0, 2)) {
    const id = draft.id('w');
    draft.add(`mirror ${id} ${area.id} ${size(area.bytes)}`);
    draft.mirrors.push(id);
  }
  const choices = groups.flat().flatMap(([weight, act]) => Array.from({ length: weight }, () => act));
  while (draft.lines.length < length) {
    let who = draft;
    while (who.kids.length > 0 && who.random(5) < 3) who = who.pick(who.kids);
    draft.pick(choices)(who);
  }
  draft.look();
  for (const kid of draft.kids) kid.look();
  draft.joinAll();
  for (const child of draft.children) draft.add(`join ${child}`);
  return `# random: ${family}, seed ${seed}\n${draft.lines.slice(0, 60).join('\n')}\n`;
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { count: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' }, length: { type: 'string', default: '24' } },
  });
  const [dir, family] = positionals;
  if (dir === undefined || !Object.hasOwn(FAMILIES, family ?? '')) {
    console.error(`usage: random.mjs DIR FAMILY [--count N] [--seed N] [--length N]   (families: ${FAMILY_NAMES.join(' ')})`);
    process.exitCode = 2;
  } else {
    mkdirSync(dir, { recursive: true });
    for (let i = 0; i < Number(values.count); i++) {
      const seed = Number(values.seed) + i;
      writeFileSync(join(dir, `random-${family}-${seed}.scn`), scenario(family, seed, Number(values.length)));
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
