// Our UNet step beside onnxruntime-web's and tinygrad's: the same weights, the same inputs, one run, in turn.
//
//   cargo xtask bench --peers [--folder target/peers] [--where chromium,node] [--sizes 8,16] [--rounds 5] [--contenders wordbrush:auto,…]
//
// In every round each contender takes a step, and who is first moves on. On a busy machine the clock tells how long a process waits;
// the CPU time of all processes of this bench tells what it does, and on a software adapter that is the work. `--adapter gpu`
// measures a real one, at 64×64 latents (gpu.js). Prints tables and writes `results-….json` into the folder.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openChromium } from './hosts/chromium.js';
import { openNode } from './hosts/node.js';
import { cpuSeconds } from './lib/cpu.js';
import { median, relative, Tensors } from './lib/numbers.js';
import { table } from './lib/table.js';

const { values: options } = parseArgs({
  options: {
    folder: { type: 'string', default: 'target/peers' },
    where: { type: 'string', default: 'chromium,node' },
    adapter: { type: 'string', default: 'software' },
    sizes: { type: 'string' },
    rounds: { type: 'string' },
    contenders: { type: 'string' },
    native: { type: 'string' },
  },
});
const onGpu = options.adapter === 'gpu';
const sizes = options.sizes?.split(',').map(Number) ?? (onGpu ? [64] : [8, 16]);
const rounds = Number(options.rounds ?? (onGpu ? 20 : 5));
const HOSTS = { chromium: openChromium, node: openNode };

// What is fair depends on the adapter: everybody in f32, and in halves where shaders have them. `auto` is what ours takes by itself.
function contenders({ f16 }) {
  if (options.contenders) return options.contenders.split(',');
  if (onGpu) return ['wordbrush:auto', 'onnxruntime:f16', 'tinygrad:f16'];
  return ['wordbrush:auto', 'onnxruntime:f32', 'tinygrad:f32', ...(f16 ? ['onnxruntime:f16', 'tinygrad:f16'] : [])];
}

// The files a contender needs, by the names it knows them by.
function filesOf(name, dtype, size) {
  const checkpoint = { 'sd15-random.safetensors': 'sd15-random.safetensors' };
  const step = { [`step-${size}.safetensors`]: `step-${size}.safetensors` };
  if (name === 'wordbrush') return { ...checkpoint, ...step };
  if (name === 'tinygrad') return { ...checkpoint, ...step, [`${size}-${dtype}.json`]: `tinygrad/${size}-${dtype}.json` };
  const weights = readdirSync(join(options.folder, 'onnx')).filter((file) => file.startsWith(`weights-${dtype}-`));
  const names = [`${size}-${dtype}.onnx`, ...weights];
  return { ...step, ...Object.fromEntries(names.map((file) => [file, `onnx/${file}`])) };
}

async function measure(where, host, size) {
  const expected = await expectedOf(size);
  const entrants = [];
  for (const entry of contenders(host.adapter)) {
    const [name, dtype] = entry.split(':');
    const runner = await host.open();
    const before = cpuSeconds();
    try {
      const { guided, ...loaded } = await runner.load({ name, dtype, size, folder: options.folder, files: filesOf(name, dtype, size) });
      const error = relative(guided, expected);
      entrants.push({ entry, runner, ...loaded, loadCpu: cpuSeconds() - before, error, guided, steps: [] });
      console.log(`  ${entry} in ${loaded.storage}: ready after ${loaded.readySeconds.toFixed(1)} s, relative error ${error.toExponential(1)}`);
    } catch (error) {
      await runner.close();
      entrants.push({ entry, failed: error.message.split('\n')[0] });
      console.log(`  ${entry} does not run here: ${error.message}`);
    }
  }
  const running = entrants.filter(({ failed }) => !failed);
  for (let round = 0; round < rounds; round += 1) {
    for (let i = 0; i < running.length; i += 1) {
      const entrant = running[(i + round) % running.length];
      const before = cpuSeconds();
      const step = await entrant.runner.step();
      entrant.steps.push({ ...step, cpu: cpuSeconds() - before });
      // Told at once: a long run may be ended from outside.
      console.log(`  round ${round + 1}, ${entrant.entry}: ${step.seconds.toFixed(2)} s, ${entrant.steps.at(-1).cpu.toFixed(2)} s of CPU time`);
    }
  }
  for (const { runner } of running) await runner.close();
  const ours = running.find(({ entry }) => entry.startsWith('wordbrush'));
  return entrants.map(({ runner, guided, ...entrant }) => ({
    where, size, ...entrant, ...summary(entrant.steps), ...(guided && ours ? { toOurs: relative(guided, ours.guided) } : {}),
  }));
}

function summary(steps) {
  if (!steps?.length) return {};
  const last = steps.at(-1);
  const counts = Object.fromEntries(['dispatches', 'submits', 'readbacks', 'bindGroups', 'buffers', 'peak'].map((key) => [key, last[key]]));
  return { seconds: median(steps.map((step) => step.seconds)), cpu: median(steps.map((step) => step.cpu)), ...counts };
}

async function expectedOf(size) {
  const bytes = readFileSync(join(options.folder, `step-${size}.safetensors`));
  return (await Tensors.open(new Blob([bytes]))).floats('guided');
}

function print(results, adapter, load) {
  console.log(`\n${results[0].where}, ${adapter.name}, latents ${results[0].size}×${results[0].size}, batch 2; load average ${load.map((l) => l.toFixed(1)).join(' → ')}`);
  const fastest = (key) => Math.min(...results.filter(({ entry, failed }) => !failed && !entry.startsWith('wordbrush')).map((result) => result[key]));
  const [wall, cpu] = [fastest('seconds'), fastest('cpu')];
  const columns = ['', 's a step', '× fastest peer', 'CPU s a step', '× fastest peer', 'ready, s', 'ready, CPU s', 'peak MB', 'dispatches', 'submits', 'bind groups', 'readbacks', 'error'];
  const rows = results.map((r) => (r.failed ? [r.entry, `does not run: ${r.failed}`] : [
    `${r.entry} (${[r.storage, r.note].filter(Boolean).join(', ')})`, r.seconds.toFixed(2), (r.seconds / wall).toFixed(2), r.cpu.toFixed(2), (r.cpu / cpu).toFixed(2),
    r.readySeconds.toFixed(1), r.loadCpu.toFixed(1), (r.peak / 1e6).toFixed(0), r.dispatches, r.submits, r.bindGroups, r.readbacks, r.error.toExponential(1),
  ]));
  console.log(table(columns, rows));
}

async function main() {
  if (onGpu) return (await import('./gpu.js')).measureGpu({ folder: options.folder, rounds, size: sizes[0], measure, native: options.native });
  for (const where of options.where.split(',')) {
    const host = await HOSTS[where]();
    if (!host.adapter) {
      console.log(`\n${where}: not measured, it gives no adapter${where === 'node' ? ' (Dawn takes Mesa\'s lavapipe from version 25 on: name one in VK_DRIVER_FILES)' : ''}.`);
      await host.close();
      continue;
    }
    console.log(`\n${where}: ${host.adapter.name}${host.adapter.f16 ? ', shader-f16' : ''}`);
    for (const size of sizes) {
      const before = loadavg()[0];
      const results = await measure(where, host, size);
      print(results, host.adapter, [before, loadavg()[0]]);
      writeFileSync(join(options.folder, `results-${where}-${size}.json`), JSON.stringify({ adapter: host.adapter, results }, null, 1));
    }
    await host.close();
  }
}

if (!existsSync(join(options.folder, 'sd15-random.safetensors'))) {
  console.log(`${options.folder} holds no models: benches/peers/make.py makes them`);
  process.exit(1);
}
await main();
process.exit(0);
