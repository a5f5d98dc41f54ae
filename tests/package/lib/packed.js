// The package as npm would publish it, and where its users would have it.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const HERE = fileURLToPath(new URL('../', import.meta.url));
export const OUT = join(HERE, 'out');
mkdirSync(OUT, { recursive: true });

// Packs pkg/ into `folder`: {tarball, files: [{path, size}]}.
export function pack(folder) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [{ filename, files }] = JSON.parse(execFileSync('npm', args, { cwd: join(ROOT, 'pkg'), encoding: 'utf8' }));
  return { tarball: join(folder, filename), files };
}

// A folder with the package, and nothing else, in its node_modules; below `parent`, whose own node_modules it sees.
export function installed(name, parent = OUT) {
  const folder = join(parent, name);
  rmSync(folder, { recursive: true, force: true });
  const modules = join(folder, 'node_modules/wordbrush');
  mkdirSync(modules, { recursive: true });
  const { tarball } = pack(folder);
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', modules]);
  return folder;
}

// The program of a package in our node_modules, to be run with node.
export function program(name, bin = name) {
  const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
  const { bin: bins } = JSON.parse(readFileSync(manifest, 'utf8'));
  return join(dirname(manifest), typeof bins === 'string' ? bins : bins[bin]);
}

// The built-in model, unpacked.
export function demoModel() {
  const path = join(OUT, 'shapes.safetensors');
  writeFileSync(path, gunzipSync(readFileSync(join(ROOT, 'www/demo/shapes.safetensors.gz'))));
  return path;
}

// {URL path: file} of all in a folder, for the server of the browser tests.
export function served(folder, at = '/') {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name)).map((file) => [at + file.slice(folder.length + 1), file]);
}
