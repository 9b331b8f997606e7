/**
 * Builds assembly/ into three WASM modules of one source: shared (SIMD, shared memory), simd (SIMD, private memory),
 * scalar (plain WebAssembly 1.0, private memory; what wasm2c and other hosts take). Alone: `node scripts/build-wasm.mjs`.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** By a name that tsc does not follow: its types declare those of WASM as globals. */
const ASC = /** @type {string} */ ('assemblyscript/asc');

/** Memory is imported and may have any size up to 4 GiB, so one page is all that is asked for. */
const COMMON = [
  '--runtime', 'stub', '--noAssert', '-O3', '--importMemory', '--initialMemory', '1', '--noExportMemory',
  '--disable', 'nontrapping-f2i', '--disable', 'mutable-globals',
];

/** asc flags by build */
export const WASM_BUILDS = {
  shared: ['--enable', 'simd', '--enable', 'threads', '--sharedMemory', '--maximumMemory', '65536'],
  simd: ['--enable', 'simd'],
  scalar: ['--disable', 'bulk-memory', '--disable', 'sign-extension'],
};

/** Compiles one build and returns its bytes. Throws with asc's own words. */
async function compile(asc, flags) {
  let binary;
  const { error, stderr } = await asc.main(['assembly/index.ts', ...COMMON, ...flags, '--baseDir', ROOT, '--config', 'none', '--outFile', 'walk.wasm'], {
    writeFile: (name, contents) => {
      if (name.endsWith('.wasm')) binary = contents;
    },
  });
  if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`);
  return binary;
}

/** Writes walk.<build>.wasm for every build into `outDir` (default dist/wasm), each complete or not at all. */
export async function buildWasm({ outDir = join(ROOT, 'dist', 'wasm') } = {}) {
  const { default: asc } = await import(ASC);
  await mkdir(outDir, { recursive: true });
  for (const [build, flags] of Object.entries(WASM_BUILDS)) {
    const binary = await compile(asc, flags);
    const file = join(outDir, `walk.${build}.wasm`);
    const temporary = `${file}.${process.pid}.tmp`;
    await writeFile(temporary, binary);
    await rename(temporary, file);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  await buildWasm().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
