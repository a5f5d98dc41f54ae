// The models that the page knows, at their own addresses. What answers at huggingface.co and at the host to which it leads is a
// local server, on https, that redirects, ranges and fails as they do; the engine is the stand-in.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { KNOWN } from '../../www/ui/addresses.js';
import { launch, openPage, screenshot } from './lib/browser.js';
import { certificate } from './lib/certificate.js';
import { hub, model } from './lib/hub.js';
import { serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('./lib/fake_engine.js', import.meta.url));
const MIB = 1 << 20;
const [CHECKPOINT, VAE] = KNOWN.map(({ url }) => url.split('/').pop());

let server;
let far;
let browser;
let context;

before(async () => {
  far = await hub({ certificate: certificate() });
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE]]));
  const hosts = ['huggingface.co', '*.hf.co'].map((host) => `MAP ${host} 127.0.0.1:${far.port}`);
  browser = await launch({ more: [`--host-resolver-rules=${hosts.join(',')}`, '--ignore-certificate-errors'] });
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
});
beforeEach(async () => {
  for (const list of [far.requests, far.links]) list.length = 0;
  far.files.clear();
  context = await browser.newContext({ viewport: { width: 1280, height: 900 }, serviceWorkers: 'block' });
});
afterEach(() => context.close());

async function open() {
  const { page, problems } = await openPage(context, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await page.getByText('Get a model from the web', { exact: true }).click();
  return { page, problems, known: (i) => page.getByRole('button', { name: `${KNOWN[i].title()}: ${KNOWN[i].url}`, exact: true }) };
}

test('the list is that of the workflow that the page’s settings come from', () => {
  assert.deepEqual(KNOWN.map(({ kind, url }) => [kind, url]), [
    ['model', 'https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors'],
    ['vae', 'https://huggingface.co/stabilityai/sd-vae-ft-mse-original/resolve/main/vae-ft-mse-840000-ema-pruned.safetensors'],
  ]);
});

test('the checkpoint and its VAE come by two clicks each, through redirects, refusals and cut connections', async () => {
  for (const [seed, name] of [CHECKPOINT, VAE].entries()) far.files.set(name, { bytes: model(17 * MIB, seed + 1) });
  const { page, problems, known } = await open();
  const get = page.getByRole('button', { name: 'Download and load', exact: true });
  await known(0).click();
  await page.locator('.found').getByText(`${CHECKPOINT}: 17.0 MiB to download. It takes about`).waitFor();
  far.files.get(CHECKPOINT).next = [{ status: 503, retryAfter: '1' }, { cutAfter: 10 * MIB }, { status: 429, retryAfter: '1' }];
  far.requests.length = 0;
  await get.click();
  await page.locator('#load-note', { hasText: 'The server answered 429 Too Many Requests (at cas-bridge.xethub.hf.co): trying again in 1 s.' }).waitFor();
  await screenshot(page, 'hub-again');
  await page.locator('#model-status', { hasText: `${CHECKPOINT} is loaded` }).waitFor();
  // Busy, cut, busy, and then the rest: no block that had arrived was asked for again.
  const from = far.requests.map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range)[1]));
  assert.deepEqual(from.slice(0, 2), [0, 0]);
  assert.ok(from[2] >= 8 * MIB && from[2] <= 10 * MIB && from[3] === from[2], String(from));
  assert.equal(from.length, 4);

  await known(1).click();
  far.files.get(VAE).next = [{ cutAfter: 3 * MIB }];
  await get.click();
  await page.locator('#model-status', { hasText: `${CHECKPOINT} is loaded` }).filter({ hasText: `with the VAE ${VAE}` }).waitFor();

  // Each time by the hub's own address: what it leads to expires.
  assert.deepEqual([...new Set(far.links.map(({ host, path }) => `https://${host}${path}`))].sort(), KNOWN.map(({ url }) => url).sort());
  assert.equal(far.links.length, 1 + 4 + 2, JSON.stringify(far.links));
  assert.deepEqual([...new Set(far.requests.map(({ host }) => host))], ['cas-bridge.xethub.hf.co']);
  // They open again without the hub.
  far.goDown();
  await page.reload();
  await page.getByRole('button', { name: `Open ${CHECKPOINT}`, exact: true }).click();
  await page.locator('#model-status', { hasText: `${CHECKPOINT} is loaded` }).waitFor();
  await page.getByRole('button', { name: `Open ${VAE}`, exact: true }).click();
  await page.locator('#model-status', { hasText: `with the VAE ${VAE}` }).waitFor();
  far.comeBack();
  // What fails in the network is the browser's to report.
  assert.deepEqual(problems.filter((problem) => !/Failed to load resource/.test(problem)), []);
});

test('what the hub does not give is a sentence', async () => {
  const { page, problems, known } = await open();
  const refused = {
    401: 'It wants a login',
    403: 'It is not for everybody',
    404: 'There is no such file',
  };
  for (const [status, why] of Object.entries(refused)) {
    far.files.set(CHECKPOINT, { bytes: model(MIB), next: [{ status: Number(status) }] });
    await known(0).click();
    await page.getByRole('alert').getByText(`${KNOWN[0].url} cannot be fetched: the server answered ${status}`).getByText(why).waitFor();
    assert.ok(await page.getByRole('button', { name: 'Download and load', exact: true }).isHidden());
  }
  await screenshot(page, 'hub-refused');
  far.files.set(CHECKPOINT, { bytes: model(MIB), next: [{ status: 429, retryAfter: '3600' }] });
  await known(0).click();
  await page.getByRole('alert').getByText('asks to wait 60 minutes. Try again then.').waitFor();
  assert.deepEqual(problems.filter((problem) => !/Failed to load resource/.test(problem)), []);
});
