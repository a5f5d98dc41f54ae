// What a first visit costs: what is fetched for it, and what is seen while the engine (the wasm) is still on its way.

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';
import { launch, openPage, screenshot } from './lib/browser.js';
import { DEMO, serve } from './lib/server.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const ROOT = file('../../');
const WASM = '/pkg/wordbrush_bg.wasm';

let server;
let browser;
const held = []; // the answers that wait
const engine = new EventEmitter(); // "asked" for

before(async () => {
  const beside = [WASM];
  server = await serve(new Map([[DEMO, file('../../www/demo/index.json')]]), {
    beside,
    answer: (request, response) => {
      held.push(() => response.writeHead(200, { 'Content-Type': 'application/wasm' }).end(readFileSync(`${ROOT}${WASM}`)));
      engine.emit('asked');
    },
  });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

const paints = () => performance.getEntriesByName('first-contentful-paint').length;

test('the page is painted and can be used while the engine does not come; when it comes, it works', { timeout: 300_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  assert.equal(await page.evaluate(paints), 1);

  const asked = once(engine, 'asked');
  await page.getByRole('button', { name: 'Load the built-in model' }).click();
  await page.locator('#model-status', { hasText: 'Loading shapes.safetensors…' }).waitFor();
  await asked;
  await page.getByRole('button', { name: 'Stop loading', exact: true }).waitFor();
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill('two lime circles');
  await page.getByLabel('Size', { exact: true }).selectOption('512 × 768');
  assert.equal(await page.getByLabel('Height', { exact: true }).inputValue(), '768');
  await page.getByText('Make an embedding', { exact: true }).click();
  await page.getByRole('combobox', { name: 'Language', exact: true }).selectOption('Deutsch');
  await page.locator('#model-status', { hasText: 'shapes.safetensors wird geladen…' }).waitFor();
  await page.getByRole('button', { name: 'Erzeugen', exact: true }).click();
  await page.getByRole('alert').getByText('Das Modell wird noch geladen.').waitFor();
  await screenshot(page, 'first-visit');

  for (const answer of held) answer();
  await page.locator('#model-status', { hasText: 'shapes.safetensors ist geladen' }).waitFor({ timeout: 240_000 });
  assert.equal(await prompt.inputValue(), 'two lime circles');
  assert.deepEqual(problems, []);
  await page.close();
});

test('a page opened anew with the engine held paints as soon as one without', async () => {
  // The service worker asks for it, to keep it.
  const asked = once(engine, 'asked');
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  page.setDefaultTimeout(30_000);
  await asked;
  await page.reload();
  await page.getByRole('heading', { name: 'Wordbrush', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Generate', exact: true }).waitFor();
  assert.equal(await page.evaluate(paints), 1);
  assert.deepEqual(problems, []);
  await page.close();
});

// By Brotli, as servers send files that are compressed once. The built-in model is asked for by a click and has a size of its own;
// the icons of an installed program, and the other language, come when the page is there already.
const LIMIT = 1.5e6;

test('the page and the engine, as they were fetched, are at most 1.5 MB', (context) => {
  const fetched = [...new Set(server.requests)].filter((path) => !/^\/www\/(icons\/|text\/de\.js$|demo\/.*\.(gz|pt|bin|safetensors|png)$)/.test(path));
  assert.ok(fetched.includes(WASM) && fetched.includes('/www/main.js') && fetched.includes('/pkg/worker.js'), String(fetched));
  const size = (path) => {
    const bytes = readFileSync(`${ROOT}${path.endsWith('/') ? `${path}index.html` : path}`);
    return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length;
  };
  const sum = fetched.reduce((all, path) => all + size(path), 0);
  context.diagnostic(`${fetched.length} files, ${sum} bytes`);
  assert.ok(sum <= LIMIT, `${sum} bytes`);
});
