#!/usr/bin/env node
/**
 * npm run oracle [-- options] NAME|FILE.scn…      asks a real kernel in QEMU, and keeps its answers as records
 *
 *   --kernel 6.1         a Debian kernel with its headers, by release or how that begins; or a build folder (default 6.1)
 *   --out DIR            where the records go (default: the folder of that kernel in test/conformance)
 *   --check              write nothing: say whether the kernel answers as it did when the records were taken
 *   --keep               keep the build folder with the consoles' logs
 *
 * A name is one of test/conformance/scenarios. About 15 s a boot and 1 s a scenario; what says `# isolated` has a boot of its own.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const RECORDS = resolve(HERE, '../conformance');
const SCENARIOS = join(RECORDS, 'scenarios');

/** What is needed, and the Debian package that has it. */
const TOOLS = {
  'qemu-system-x86_64': 'qemu-system-x86', busybox: 'busybox-static', 'mkfs.ext4': 'e2fsprogs', 'mkfs.xfs': 'xfsprogs', ndctl: 'ndctl', cpio: 'cpio', depmod: 'kmod',
  make: 'make', gcc: 'gcc', strings: 'binutils', xz: 'xz-utils',
};
/** Operations that only a kernel with DEVICE_PRIVATE can carry out. */
const DEVICE_MEMORY = /^\s*(in \w+ |async \w+ )?(todev|tosys|evict|devinfo|devdown|devup|excl) /m;
/** Operations that only the probe of the 2019 API has: no kernel of that era is built here. */
const API_2019 = /^\s*(pgmap|dying|alive|numa|swap|migrate|unmigrate|inv_\w+)\b|\b(once|nonblock|again|shift=\d+)\b/m;

class Refusal extends Error {}

function onPath(tool) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The kernel's release, as asked for; throws Refusal with what to install. */
function findKernel(wanted) {
  const missing = Object.entries(TOOLS).filter(([tool]) => !onPath(tool)).map(([, pkg]) => pkg);
  const isBuild = existsSync(join(wanted, 'arch/x86/boot/bzImage'));
  const releases = existsSync('/lib/modules') ? readdirSync('/lib/modules') : [];
  const found = releases.filter((release) => (release === wanted || release.startsWith(`${wanted}.`) || release.startsWith(`${wanted}-`)) && existsSync(`/lib/modules/${release}/build`) && existsSync(`/boot/vmlinuz-${release}`));
  if (!isBuild && found.length === 0) missing.push(...(wanted === '6.1' ? ['linux-image-amd64', 'linux-headers-amd64'] : [`linux-image-${wanted}…-amd64`, `linux-headers-${wanted}…-amd64`]));
  if (missing.length > 0) throw new Refusal(`not installed: ${missing.join(' ')}\nOn Debian: apt-get install ${missing.join(' ')}   (test/oracle/README.md says more)`);
  if (!isBuild) return { release: found.toSorted().at(-1), devicePrivate: false };
  const config = readFileSync(join(wanted, '.config'), 'utf8');
  return { release: readFileSync(join(wanted, 'include/config/kernel.release'), 'utf8').trim(), devicePrivate: /^CONFIG_DEVICE_PRIVATE=y/m.test(config) };
}

/** The scenarios by name, copied beside each other where some come from elsewhere. */
function gather(names, kernel) {
  const all = readdirSync(SCENARIOS).filter((file) => file.endsWith('.scn')).map((file) => join(SCENARIOS, file));
  const files = names.length === 0 ? all.filter((file) => fits(file, kernel)) : names.map((name) => (name.endsWith('.scn') ? resolve(name) : join(SCENARIOS, `${name}.scn`)));
  for (const file of files) {
    if (!existsSync(file)) throw new Refusal(`no scenario ${file}`);
    const text = readFileSync(file, 'utf8');
    if (API_2019.test(text)) throw new Refusal(`${file} asks the 2019 API: its kernel's records are fixed`);
    if (DEVICE_MEMORY.test(text) && !kernel.devicePrivate) throw new Refusal(`${file} needs a kernel with DEVICE_PRIVATE: build one (test/oracle/README.md) and give its folder to --kernel`);
  }
  return files;
}

/** Without names: all that the kernel's own folder has records of. */
function fits(file, kernel) {
  const text = readFileSync(file, 'utf8');
  return !API_2019.test(text) && DEVICE_MEMORY.test(text) === kernel.devicePrivate;
}

function recordsFolder({ release, devicePrivate }) {
  const [, version = release] = /^(\d+\.\d+)/.exec(release) ?? [];
  return join(RECORDS, `${devicePrivate ? 'migrate-' : ''}v${version}`);
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { kernel: { type: 'string', default: '6.1' }, out: { type: 'string' }, check: { type: 'boolean', default: false }, keep: { type: 'boolean', default: false } },
  });
  const kernel = findKernel(values.kernel);
  const files = gather(positionals, kernel);
  const records = resolve(values.out ?? recordsFolder(kernel));
  const work = mkdtempSync(join(tmpdir(), 'oracle-'));
  try {
    const out = values.check ? join(work, 'out') : records;
    mkdirSync(join(work, 'scenarios'));
    mkdirSync(out, { recursive: true });
    for (const file of files) cpSync(file, join(work, 'scenarios', basename(file)));
    const names = files.map((file) => basename(file, '.scn'));
    const { status } = spawnSync('sh', [join(HERE, 'boot.sh'), ...(values.keep ? ['-k'] : []), values.kernel, join(work, 'scenarios'), out, ...names], { stdio: 'inherit' });
    if (status !== 0) return 1;
    return values.check ? check(names, records, out) : 0;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Does the kernel repeat itself? */
function check(names, records, out) {
  const text = (folder, name) => (existsSync(join(folder, `${name}.json`)) ? readFileSync(join(folder, `${name}.json`), 'utf8').replace(/"klog":[^]*$/, '') : null);
  const other = names.filter((name) => text(records, name) !== text(out, name));
  for (const name of other) console.log(`${name}: ${text(records, name) === null ? 'no record yet' : 'answers otherwise'}`);
  console.log(`${names.length - other.length} of ${names.length} scenarios answered as recorded`);
  return other.length === 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof Refusal) && !String(error?.code).startsWith('ERR_PARSE_ARGS')) throw error;
  console.error(`oracle: ${error.message}`);
  process.exitCode = 2;
}
