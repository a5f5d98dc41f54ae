// The page's models from the web and in the browser's storage, with a server beside the page that behaves as the hub does, and
// the stand-in as engine.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { check } from './lib/axe.js';
import { launch, openPage, screenshot } from './lib/browser.js';
import { hub, model } from './lib/hub.js';
import { serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('./lib/fake_engine.js', import.meta.url));
const MIB = 1 << 20;
const BYTES = model(17 * MIB);
const OWN = join(mkdtempSync(join(tmpdir(), 'wordbrush-')), 'own.safetensors');

let server;
let far;
let browser;
let context;

before(async () => {
  writeFileSync(OWN, BYTES);
  far = await hub();
  server = await serve(new Map([['/pkg/wordbrush.js', FAKE]]), far);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
  rmSync(dirname(OWN), { recursive: true });
});
beforeEach(async () => {
  far.requests.length = 0;
  context = await browser.newContext({ viewport: { width: 1280, height: 900 }, serviceWorkers: 'block' });
});
afterEach(() => context.close());

const link = (name) => `${server.url}/owner/repository/resolve/main/${name}`;

async function open() {
  const { page, problems } = await openPage(context, `${server.url}/www/`);
  page.setDefaultTimeout(20_000);
  const button = (name, exact = true) => page.getByRole('button', { name, exact });
  return {
    page,
    problems,
    button,
    web: () => page.getByText('Get a model from the web', { exact: true }).click(),
    address: page.getByLabel('Address of a .safetensors file', { exact: true }),
    stored: page.getByRole('list', { name: 'In this browser', exact: true }),
    loaded: (name) => page.locator('#model-status', { hasText: `${name} is loaded` }).waitFor(),
    alert: (text) => page.getByRole('alert').getByText(text).waitFor(),
  };
}

test('an address is looked up, downloaded, loaded, opened again without the network, deleted', async () => {
  far.files.set('fine.safetensors', { bytes: BYTES });
  const { page, problems, button, web, address, stored, loaded } = await open();
  await web();
  await address.fill(link('fine.safetensors'));
  await address.press('Enter');
  const found = page.locator('.found');
  await found.getByText('fine.safetensors: 17.0 MiB to download. It takes about').waitFor();
  assert.match(await found.textContent(), /of the GPU’s memory: .* for its weights, the rest to make a picture of 512×512\. This browser’s storage has .* free\.$/);
  await page.evaluate(() => document.querySelector('main').scrollIntoView());
  await screenshot(page, 'shelf-found');
  // Only the header was fetched by now.
  far.files.get('fine.safetensors').pace = 300_000;
  await button('Download and load').click();
  await page.locator('#load-progress', { hasText: /Downloading: .* of 17\.0 MiB, .*\/s/ }).waitFor();
  await screenshot(page, 'shelf-downloading');
  far.files.get('fine.safetensors').pace = Infinity;
  await loaded('fine.safetensors');
  await stored.getByText('17.0 MiB', { exact: true }).waitFor();
  await page.getByText(/in use\. When space runs out the browser may delete it\./).waitFor();
  assert.equal(await page.locator('#load-progress').isHidden(), true);
  // Headless Chromium promises nothing.
  await button('Ask the browser to keep them').click();
  await page.getByRole('status').getByText('The browser does not promise to keep what is stored').waitFor();

  // The page again; the hub is gone.
  far.goDown();
  await page.reload();
  await button('Open fine.safetensors').click();
  await loaded('fine.safetensors');
  await screenshot(page, 'shelf-stored');
  await page.getByLabel('Steps', { exact: true }).fill('1');
  await button('Generate').click();
  await page.getByRole('img').waitFor();

  await button('Delete fine.safetensors').click();
  assert.equal(await stored.getByRole('listitem').count(), 1);
  await screenshot(page, 'shelf-delete');
  await button('Really delete fine.safetensors?').click();
  await stored.waitFor({ state: 'hidden' });
  // What is loaded stays.
  await loaded('fine.safetensors');
  far.comeBack();
  assert.deepEqual(problems, []);
});

test('an address that is pasted anywhere on the page is looked up', async () => {
  far.files.set('pasted.safetensors', { bytes: BYTES });
  far.files.set('ft-mse-vae.safetensors', { bytes: BYTES });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const { page, problems, address } = await open();
  const paste = async (text) => {
    await page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await page.keyboard.press('Control+v');
  };
  await paste(`  ${link('pasted.safetensors')}\n`);
  await page.locator('.found').getByText('pasted.safetensors: 17.0 MiB to download').waitFor();
  assert.equal(await address.inputValue(), link('pasted.safetensors'));
  assert.equal(await page.getByLabel('It is', { exact: true }).inputValue(), 'model');
  await paste(link('ft-mse-vae.safetensors'));
  await page.locator('.found').getByText('ft-mse-vae.safetensors').waitFor();
  assert.equal(await page.getByLabel('It is', { exact: true }).inputValue(), 'vae');
  // In a field it is text.
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.focus();
  await paste('https://example.com/a.safetensors');
  await page.waitForFunction(() => document.querySelector('[name="prompt"]').value.endsWith('a.safetensors'));
  assert.equal(await address.inputValue(), link('ft-mse-vae.safetensors'));
  assert.deepEqual(problems, []);
});

test('a long download is told: how much, how fast, how long yet; and four times aloud', async () => {
  far.files.set('long.safetensors', { bytes: BYTES, pace: 25_000 });
  const { page, problems, button, web, address, loaded } = await open();
  await page.evaluate(() => {
    globalThis.heard = [];
    const aloud = document.getElementById('load-milestones');
    if (aloud.getAttribute('role') !== 'status') throw new Error('it is no live region');
    new MutationObserver(() => globalThis.heard.push(aloud.textContent)).observe(aloud, { childList: true, characterData: true, subtree: true });
  });
  await web();
  await address.fill(link('long.safetensors'));
  await button('Look it up').click();
  await button('Download and load').click();
  const line = page.locator('#load-progress p');
  await line.filter({ hasText: /^Downloading: \d+\.\d MiB of 17\.0 MiB, \d+\.\d [KM]iB\/s, about \d+(\.\d)? s left$/ }).waitFor();
  const [told, bar, title] = await page.evaluate(() => {
    const progress = document.querySelector('#load-progress progress');
    return [progress.getAttribute('aria-valuetext'), progress.value, document.title];
  });
  assert.match(told, /^Downloading: /);
  const [, loadedMib, rate, left] = /: ([\d.]+) MiB of .*, ([\d.]+) MiB\/s, about ([\d.]+) s/.exec(told).map(Number);
  assert.ok(Math.abs((17 - loadedMib) / rate - left) < 0.2 * left + 0.2, `the numbers belong together: ${told}`);
  assert.ok(Math.abs(bar - loadedMib / 17) < 0.02, `${bar} of the bar, ${told}`);
  assert.match(title, /^\[\d+%\] Wordbrush$/);
  // What it is going to take is known long before it is there.
  await page.locator('#model-status', { hasText: /^Loading long\.safetensors… It takes about .* of the GPU’s memory: .* for its weights/ }).waitFor();
  await screenshot(page, 'shelf-told');
  await loaded('long.safetensors');
  const heard = await page.evaluate(() => globalThis.heard);
  assert.deepEqual(heard.slice(0, 4), [25, 50, 75, 100].map((percent) => `Downloading: ${percent} %`));
  // What was not on the GPU by then is told as well.
  const rest = heard.slice(4).map((text) => Number(/^Onto the GPU: (25|50|75|100) %$/.exec(text)?.[1]));
  assert.deepEqual([rest.toSorted((a, b) => a - b), rest.at(-1)], [rest, 100], String(heard));
  assert.equal(await page.title(), 'Wordbrush');
  assert.deepEqual(problems, []);
});

test('stopped and gone on with, also after the page was closed', async () => {
  far.files.set('slow.safetensors', { bytes: BYTES, pace: 200_000 });
  const first = await open();
  await first.web();
  await first.address.fill(link('slow.safetensors'));
  await first.button('Look it up').click();
  await first.button('Only download').click();
  await first.page.locator('#load-progress', { hasText: /Downloading: (8|9|1\d)\.\d MiB of/ }).waitFor();
  await first.button('Stop loading').click();
  await first.stored.getByText(/^(8|16)\.0 MiB of 17\.0 MiB$/).waitFor();
  assert.equal(await first.page.locator('#load-progress').isHidden(), true);
  assert.equal(await first.page.getByRole('alert').textContent(), '');
  await screenshot(first.page, 'shelf-part');
  await first.page.close();

  far.requests.length = 0;
  far.files.get('slow.safetensors').pace = Infinity;
  const { button, stored, loaded, problems } = await open();
  await button('Go on downloading slow.safetensors').click();
  await loaded('slow.safetensors');
  await stored.getByText('17.0 MiB', { exact: true }).waitFor();
  assert.ok(far.requests.every(({ range }) => Number(/\d+/.exec(range)[0]) >= 8 * MIB), JSON.stringify(far.requests));
  assert.deepEqual([...first.problems, ...problems], []);
});

test('a file of one’s own is kept and opened at the next visit', async () => {
  const { page, button, stored, loaded, problems } = await open();
  await page.locator('#model-file').setInputFiles(OWN);
  await loaded('own.safetensors');
  await button('Keep it in this browser').click();
  await stored.getByText('17.0 MiB', { exact: true }).waitFor();
  await page.getByText('own.safetensors is in this browser now.').waitFor({ state: 'attached' });
  assert.equal(await button('Keep it in this browser').isHidden(), true);
  await page.reload();
  await button('Open own.safetensors').click();
  await loaded('own.safetensors');
  assert.equal(far.requests.length, 0);
  assert.deepEqual(problems, []);
});

test('a VAE from the web, and from the store', async () => {
  far.files.set('mse.safetensors', { bytes: BYTES });
  const { page, button, web, address, stored, loaded, problems } = await open();
  await page.locator('#model-file').setInputFiles({ name: 'own.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await loaded('own.safetensors');
  await web();
  await address.fill(link('mse.safetensors'));
  await page.getByLabel('It is', { exact: true }).selectOption('a VAE');
  await button('Look it up').click();
  await button('Download and load').click();
  await page.locator('#model-status', { hasText: 'with the VAE mse.safetensors' }).waitFor();
  await stored.getByText('VAE, 17.0 MiB', { exact: true }).waitFor();
  assert.deepEqual(problems, []);
});

test('no room: the model is loaded, the sentence has the numbers, and all else is as it was', async () => {
  far.files.set('large.safetensors', { bytes: BYTES });
  const { page, button, web, address, stored, loaded, problems } = await open();
  await page.getByLabel('Prompt', { exact: true }).fill('a cat');
  const session = await context.newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: server.url, quotaSize: 10 * MIB });
  await web();
  await address.fill(link('large.safetensors'));
  await button('Look it up').click();
  await button('Download and load').click();
  await loaded('large.safetensors');
  await page.getByRole('status').getByText(/^large\.safetensors \(17\.0 MiB\) is not kept: .* are in use\.$/).waitFor();
  await screenshot(page, 'shelf-full');
  assert.equal(await stored.isHidden(), true);
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'a cat');
  await page.getByLabel('Steps', { exact: true }).fill('1');
  await button('Generate').click();
  await page.getByRole('img').waitFor();
  assert.deepEqual(problems, []);
});

test('what cannot be had: a sentence, and what is loaded stays', async () => {
  const { page, button, web, address, alert, loaded, problems } = await open();
  await page.locator('#model-file').setInputFiles({ name: 'own.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await loaded('own.safetensors');
  await web();
  const tries = {
    '': 'Paste the address of a .safetensors file first.',
    'no address': '“no address” is no address: it must begin with https://.',
    'http://example.com/a.safetensors': 'the address must begin with https://',
    'https://huggingface.co/owner/repository': 'is a page of the hub, not a file',
    [link('absent.safetensors')]: 'the server answered 404',
  };
  for (const [text, sentence] of Object.entries(tries)) {
    await address.fill(text);
    await button('Look it up').click();
    await alert(sentence);
    assert.equal(await button('Download and load').isHidden(), true);
  }
  far.files.set('page.safetensors', { bytes: BYTES, next: [{ html: true }] });
  await address.fill(link('page.safetensors'));
  await address.press('Enter');
  await alert(/leads to a web page \(at 127\.0\.0\.1:\d+\); expected the file itself/);
  await screenshot(page, 'shelf-refused');
  await loaded('own.safetensors');
  // The browser itself reports what was not found.
  assert.deepEqual(problems.filter((problem) => !problem.includes('404')), []);
});

test('nothing is asked of another server before a person asks; then the policy lets it through', async () => {
  const asked = [];
  const url = 'https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors';
  await context.route((address) => address.origin !== server.url, (route) => {
    asked.push(route.request().url());
    const start = Number(/\d+/.exec(route.request().headers().range ?? '0')[0]);
    route.fulfill({
      status: 206,
      headers: {
        'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Content-Range, ETag', ETag: '"x"',
        'Content-Range': `bytes ${start}-${BYTES.length - 1}/${BYTES.length}`,
      },
      body: BYTES.subarray(start),
    });
  });
  const { page, button, web, loaded, problems } = await open();
  await page.locator('#gpu').getByText(/^GPU/).waitFor();
  await web();
  assert.deepEqual(asked, []);
  await button(`Stable Diffusion 1.5: ${url}`).click();
  await page.locator('.found').getByText('v1-5-pruned-emaonly-fp16.safetensors: 17.0 MiB to download').waitFor();
  await button('Download and load').click();
  await loaded('v1-5-pruned-emaonly-fp16.safetensors');
  assert.deepEqual([...new Set(asked)], [url]);
  assert.deepEqual(problems, []);
  // Models are the worker's to fetch: a script that got into the page could send nothing away.
  const sent = await page.evaluate((url) => fetch(url).then(() => 'sent', () => 'refused'), url);
  assert.equal(sent, 'refused');
});

test('in the dark, and on a narrow screen, nothing is cut off', async () => {
  for (const [name, options] of Object.entries({ dark: { colorScheme: 'dark', viewport: { width: 1280, height: 900 } }, narrow: { viewport: { width: 360, height: 740 } } })) {
    await context.close();
    context = await browser.newContext({ serviceWorkers: 'block', ...options });
    far.files.set('a-model-with-quite-a-long-name-v1-5-pruned-emaonly-fp16.safetensors', { bytes: BYTES });
    const { page, button, web, address, loaded } = await open();
    await web();
    await address.fill(link('a-model-with-quite-a-long-name-v1-5-pruned-emaonly-fp16.safetensors'));
    await button('Look it up').click();
    await button('Download and load').waitFor();
    await button('Only download').click();
    await page.locator('.found').getByText('is in this browser now').waitFor();
    await button('Look it up').click();
    await button('Download and load').waitFor();
    await screenshot(page, `shelf-${name}`);
    await check(page, name);
    await button(`Delete a-model-with-quite-a-long-name-v1-5-pruned-emaonly-fp16.safetensors`).click();
    await check(page, `${name}, about to delete`);
    await address.fill('no address');
    await button('Look it up').click();
    await page.getByRole('alert').getByText('is no address').waitFor();
    await check(page, `${name}, refused`);
    await screenshot(page, `shelf-${name}-refused`);
    await button('Open a-model-with-quite-a-long-name-v1-5-pruned-emaonly-fp16.safetensors').click();
    await loaded('a-model-with-quite-a-long-name-v1-5-pruned-emaonly-fp16.safetensors');
  }
});
