// The same step on a real GPU, 512×512: native wgpu, Dawn in Node, onnxruntime-web and tinygrad in the same Dawn, and diffusers in
// PyTorch on the same card. What is not there is 'not measured'.

import { execFileSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { openNode } from './hosts/node.js';
import { median } from './lib/numbers.js';
import { table } from './lib/table.js';

const NOT = 'not measured';

// `measure` is run.js's; `native` is the built bench `step`, where there is no cargo.
export async function measureGpu({ folder, rounds, size, measure, native }) {
  const host = await openNode();
  const real = host.adapter && !host.adapter.software;
  console.log(real ? `Dawn in Node: ${host.adapter.name}` : 'Dawn in Node finds no GPU.');
  // Programs of their own cannot take turns step by step with Dawn's, so they run before and after: the card may get warm.
  const before = real ? others({ folder, rounds, size, native }) : {};
  const runner = real && (await host.open());
  const peak = real ? await runner.peak() : null;
  if (runner) await runner.close();
  const dawn = real ? await measure('node', host, size) : [];
  const after = real ? others({ folder, rounds, size, native }) : {};
  const both = (pick) => {
    const found = [before, after].map(pick).filter((value) => value !== undefined);
    return found.length ? median(found) : undefined;
  };

  const gflop = before.native?.step.gflop;
  const row = (name, ms, error) => {
    if (ms === undefined) return [name, NOT];
    const rate = gflop && gflop / ms;
    const share = (kind) => (rate && peak?.[kind] ? `${(100 * rate / peak[kind]).toFixed(0)} %` : NOT);
    return [name, ms.toFixed(1), rate ? rate.toFixed(2) : NOT, share('f32'), share('f16'), error?.toExponential(1) ?? ''];
  };
  const inDawn = (entry) => {
    const found = dawn.find((result) => result.entry === entry && !result.failed);
    return row(`${entry}, Dawn in Node`, found && 1000 * found.seconds, found?.error);
  };
  console.log(`\n${host.adapter?.name ?? 'no adapter'}, UNet step, batch 2, latents ${size}×${size}; median of ${rounds}; load average ${loadavg()[0].toFixed(1)}`);
  console.log(`FMA peak: f32 ${peak ? `${peak.f32.toFixed(1)} TFLOP/s` : NOT}, f16 ${peak?.f16 ? `${peak.f16.toFixed(1)} TFLOP/s` : NOT}`);
  console.log(table(['', 'ms a step', 'TFLOP/s of our count', 'of the f32 peak', 'of the f16 peak', 'error'], [
    row('wordbrush, native wgpu', both(({ native: found }) => found && 1000 * found.step.s)),
    ...['wordbrush:auto', 'onnxruntime:f16', 'tinygrad:f16'].map(inDawn),
    row('diffusers, PyTorch f16, eager', both(({ torch }) => torch?.eager_ms), before.torch?.error),
    row('diffusers, PyTorch f16, compiled', both(({ torch }) => torch?.compiled_ms)),
  ]));
}

function others({ folder, rounds, size, native }) {
  const bench = ['--model', `${folder}/sd15-random.safetensors`, '--size', String(8 * size), '--steps', String(rounds), '--no-decode'];
  const command = native ? [native] : ['cargo', 'bench', '--package', 'wordbrush', '--bench', 'step', '--'];
  const script = new URL('torch_unet.py', import.meta.url).pathname;
  const torch = [script, '--folder', folder, '--size', String(size), '--rounds', String(rounds)];
  return { native: lastLine(...command, ...bench), torch: lastLine(process.env.PYTHON ?? 'python3', ...torch) };
}

// The JSON that a program prints last; undefined where it does not run, with a line that says why.
function lastLine(program, ...given) {
  try {
    const printed = execFileSync(program, given, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    return JSON.parse(printed.trim().split('\n').at(-1)) ?? undefined;
  } catch (error) {
    console.log(`  ${program} ${given[0]}: ${error.message.split('\n')[0]}`);
    return undefined;
  }
}
