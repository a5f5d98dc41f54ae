// ?profile: where the time of a picture went, kernel by kernel, by the GPU's own timestamps.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { check } from './lib/axe.js';
import { launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { finished, openDemo, serveDemo } from './lib/demo.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK } from './lib/server.js';

let server;
let browser;

before(async () => {
  server = await serveDemo([...fixtures()]);
  server.made.set(...BLANK);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('the page shows what each kernel took, as a picture and as a table, in both languages', { timeout: 240_000 }, async () => {
  const { page, problems } = await openDemo(browser, server, [], '?profile');
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByRole('button', { name: 'Generate', exact: true }).click();
  await finished(page);
  const profile = page.getByRole('region', { name: 'Where the time went' });
  await profile.waitFor();
  const rows = await profile.locator('tbody tr').evaluateAll((lines) => lines.map((line) => [...line.cells].map((cell) => cell.textContent)));
  const of = (plan, computes) => rows.filter((row) => row[0] === plan && row[1] === computes);
  for (const [plan, computes] of [['clip', 'linear'], ['unet step', 'conv 3×3'], ['unet step', 'self-attention'], ['vae decode', 'conv 3×3']]) {
    assert.ok(of(plan, computes).length > 0, `${plan}, ${computes} in ${rows.map((row) => row.join(' ')).join('\n')}`);
  }
  // Each ran in both of the steps.
  assert.ok(of('unet step', 'self-attention').every((row) => Number(row[4]) % 2 === 0));
  const sum = (column) => rows.reduce((all, row) => all + Number(row[column]), 0);
  assert.ok(sum(5) > 0, 'no time passed');
  assert.ok(Math.abs(sum(6) - 100) < 0.05 * rows.length, `${sum(6)} %`);
  // Widths of the flame graph's levels: all of it, and each level no more than the one above.
  const widths = await profile.locator('.flames > svg').evaluateAll((boxes) => boxes.map((box) => [box.getAttribute('y'), Number(box.getAttribute('width'))]));
  const level = (y) => widths.filter(([at]) => at === String(y)).reduce((all, [, width]) => all + width, 0);
  for (const y of [0, 26, 52, 78]) assert.ok(Math.abs(level(y) - 1000) < 1e-6, `${level(y)} at ${y}`);
  await check(page, 'a profile');
  await profile.scrollIntoViewIfNeeded();
  await screenshot(page, 'profile');

  await page.locator('#language').selectOption('de');
  await page.getByRole('region', { name: 'Wo die Zeit blieb' }).getByRole('columnheader', { name: 'Berechnet' }).waitFor();
  await page.setViewportSize({ width: 360, height: 740 });
  await check(page, 'a profile on a phone');
  await screenshot(page, 'profile-360');
  assert.deepEqual(problems, []);
  await page.close();
});

test('through the API: only where it is asked for, and the picture is the same', { timeout: 240_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
  page.setDefaultTimeout(240_000);
  await requireWebGPU(page);
  const seen = await page.evaluate(async () => {
    const { StableDiffusion } = await import('/pkg/index.js');
    const file = new File([await (await fetch('/made/small.safetensors')).blob()], 'small.safetensors');
    const options = { prompt: 'a red circle', steps: 1, width: 64, height: 64, seed: 1 };
    const bytes = async ({ png }) => [...new Uint8Array(await png.arrayBuffer())].join();
    const sd = await StableDiffusion.load(file);
    const plain = await sd.generate(options);
    const before = (await sd.memory()).gpuBytes;
    const timed = await sd.generate(options, { profile: true });
    const after = (await sd.memory()).gpuBytes;
    const again = await sd.generate(options);
    await sd.dispose();
    const cpu = await StableDiffusion.load(file, { device: 'cpu' });
    const refused = await cpu.generate(options, { profile: true }).then(() => null, ({ code, message }) => `${code}: ${message}`);
    const still = await cpu.generate(options);
    await cpu.dispose();
    return {
      same: await bytes(plain) === await bytes(timed), without: [plain, again, still].map((result) => 'profile' in result),
      rows: timed.profile, left: after - before, refused,
    };
  });
  assert.equal(seen.same, true);
  assert.deepEqual(seen.without, [false, false, false]);
  assert.equal(seen.left, 0);
  assert.equal(seen.refused, 'BAD_OPTION: profile times the GPU\'s kernels, and this model is computed on the CPU: leave it out');
  assert.ok(seen.rows.length > 20, JSON.stringify(seen.rows));
  for (const row of seen.rows) {
    assert.deepEqual(Object.keys(row), ['plan', 'class', 'kernel', 'shape', 'dispatches', 'seconds', 'flops', 'bytes']);
    assert.ok(row.seconds >= 0 && row.dispatches > 0 && row.bytes > 0 && row.shape.length > 0, JSON.stringify(row));
  }
  assert.deepEqual(problems, []);
  await page.close();
});
