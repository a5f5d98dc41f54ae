// The rate of fused multiply-adds that an adapter reaches when it does nothing else: what kernels are held against.

const ROUNDS = 4096;
const CHAINS = 8;
const WORKGROUPS = 4096;
const THREADS = 256;

// Independent chains hide the latency of one; vec4 lets wide ALUs fill.
const source = (kind) => `
${kind === 'f16' ? 'enable f16;' : ''}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(${THREADS})
fn peak(@builtin(global_invocation_id) id: vec3<u32>) {
  let seed = ${kind}(f32(id.x % 7u) * 0.001);
  let factor = vec4<${kind}>(seed + ${kind}(0.5));
  ${Array.from({ length: CHAINS }, (_, i) => `var c${i} = vec4<${kind}>(seed + ${kind}(0.1 * ${i}.0));`).join(' ')}
  for (var i = 0u; i < ${ROUNDS}u; i++) {
    ${Array.from({ length: CHAINS }, (_, i) => `c${i} = fma(c${i}, factor, c${i});`).join(' ')}
    ${Array.from({ length: CHAINS }, (_, i) => `c${i} = fma(c${i}, -factor, factor);`).join(' ')}
  }
  let sum = ${Array.from({ length: CHAINS }, (_, i) => `c${i}`).join(' + ')};
  // Never true, and the compiler cannot know.
  if (f32(sum.x + sum.y + sum.z + sum.w) == 12345.0) { out[id.x] = 1.0; }
}`;

// {f32, f16} in TFLOP/s, the best of five; f16 only where the adapter has it.
export async function peakRate(gpu) {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  const kinds = adapter.features.has('shader-f16') ? ['f32', 'f16'] : ['f32'];
  const device = await adapter.requestDevice({ requiredFeatures: kinds.length > 1 ? ['shader-f16'] : [] });
  const buffer = device.createBuffer({ size: 4 * WORKGROUPS * THREADS, usage: GPUBufferUsage.STORAGE });
  const rates = {};
  for (const kind of kinds) {
    const module = device.createShaderModule({ code: source(kind) });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'peak' } });
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] });
    const seconds = [];
    for (let round = 0; round < 6; round += 1) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(WORKGROUPS);
      pass.end();
      const started = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      seconds.push((performance.now() - started) / 1000);
    }
    const flops = 2 * 4 * 2 * CHAINS * ROUNDS * WORKGROUPS * THREADS;
    rates[kind] = flops / Math.min(...seconds.slice(1)) / 1e12; // the first compiles and wakes the card up
  }
  device.destroy();
  return rates;
}
