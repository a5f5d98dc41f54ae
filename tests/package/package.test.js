// What `npm pack` gives: its files, their size, their types, and what the linters of packages say.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { brotliCompressSync, constants } from 'node:zlib';
import { formatMessage } from 'publint/utils';
import { publint } from 'publint';
import { HERE, OUT, ROOT, installed, pack, program } from './lib/packed.js';

let folder;
let packed;

before(() => {
  folder = installed('types');
  packed = pack(folder);
});

// Runs a program of ours; its output is the message where it fails.
function run(args, options = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', ...options });
  assert.equal(status, 0, `${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

test('these files and no others are packed', () => {
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'engine_worker.js', 'errors.js', 'generation.js', 'index.d.ts', 'index.js', 'node.d.ts', 'node.js',
    'node_gpu.js', 'node_worker.js', 'options.js', 'package.json', 'pictures.js', 'platform.js', 'progress.js', 'recipes.js', 'sources.js', 'store/blocks.js', 'store/download.js', 'store/folder.js', 'store/manifest.js', 'store/measurements.js', 'store/open.js', 'store/rate.js',
    'store/retry.js', 'store/transfers.js', 'subgroups.js', 'webgpu.js', 'wordbrush.js', 'wordbrush_bg.wasm', 'worker.js',
  ]);
});

// By Brotli, as servers send files that are compressed once.
const DOWNLOAD_LIMIT = 1.5e6;

test('page and wasm stay within their size, compressed', (context) => {
  const size = (path) => {
    const bytes = readFileSync(join(ROOT, path));
    return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length;
  };
  const page = execFileSync('git', ['ls-files', 'www/index.html', 'www/*.js', 'www/*.css', 'www/*.svg', 'pkg/*.js'], { cwd: ROOT, encoding: 'utf8' });
  // Of the languages a visit fetches one: the longer.
  const fetched = (path) => !path.includes('/node') && path !== 'www/text/en.js';
  const files = [...page.trim().split('\n').filter(fetched), 'pkg/wordbrush.js'];
  const [wasm, others] = [size('pkg/wordbrush_bg.wasm'), files.reduce((sum, path) => sum + size(path), 0)];
  context.diagnostic(`wasm ${wasm} bytes, ${files.length} other files ${others} bytes`);
  assert.ok(wasm + others <= DOWNLOAD_LIMIT, `${wasm} bytes of wasm and ${others} of other files`);
});

test('publint has nothing to say', async () => {
  const { messages, pkg } = await publint({ pkgDir: join(folder, 'node_modules/wordbrush'), strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg)), []);
});

test('are the types wrong? no', () => {
  // The wasm and the worker's script have none.
  run([program('@arethetypeswrong/cli', 'attw'), packed.tarball, '--profile', 'esm-only', '--entrypoints', '.', 'node', '--no-emoji', '--no-color']);
});

test('the whole surface compiles, strictly, as bundlers and as Node.js resolve it', () => {
  cpSync(join(HERE, 'types'), folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  const resolutions = [['preserve', 'bundler'], ['nodenext', 'nodenext']];
  for (const [module, resolution] of resolutions) {
    run([
      program('typescript', 'tsc'), '--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022', '--lib', 'esnext,dom,dom.iterable',
      '--types', 'node', '--typeRoots', join(HERE, 'node_modules/@types'), '--module', module, '--moduleResolution', resolution,
      'surface.ts', 'surface_node.ts',
    ], { cwd: folder });
  }
});

test('every export has its type, and every type its export', async () => {
  const types = readFileSync(join(ROOT, 'pkg/index.d.ts'), 'utf8');
  const typed = [...types.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name).sort();
  const { default: unused, ...exported } = await import(join(folder, 'node_modules/wordbrush/index.js'));
  assert.deepEqual(Object.keys(exported).sort(), typed);
});

test('the reference is made from the comments of the types, without a warning', () => {
  const out = join(OUT, 'reference');
  run([program('typedoc'), '--options', join(HERE, 'typedoc.json'), '--out', out, '--treatWarningsAsErrors'], { cwd: HERE });
  for (const page of ['index.html', 'classes/index.StableDiffusion.html', 'interfaces/index.GenerateOptions.html']) {
    assert.ok(existsSync(join(out, page)), page);
  }
});
