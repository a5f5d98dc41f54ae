// The page's two languages: the same entries in both, none of the one left in the other, chosen by the browser and by the person.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import de from '../../www/text/de.js';
import en from '../../www/text/en.js';
import { check } from './lib/axe.js';
import { drop, launch, openPage, screenshot } from './lib/browser.js';
import { DEMO, serve } from './lib/server.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));

let server;
let browser;

before(async () => {
  server = await serve(new Map([['/pkg/wordbrush.js', file('./lib/fake_engine.js')], [DEMO, file('../../www/demo/index.json')]]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function openIn(locale) {
  const context = await browser.newContext({ locale, serviceWorkers: 'block', viewport: { width: 1280, height: 900 } });
  const { page, problems } = await openPage(context, `${server.url}/www/`);
  page.setDefaultTimeout(30_000);
  await page.locator('#demo button').first().waitFor();
  return { page, problems };
}

test('both languages have the same entries, none of them empty', () => {
  const entries = (words, name = '') => Object.entries(words).flatMap(([key, value]) => (
    typeof value === 'object' ? entries(value, `${name}${key}.`) : [[`${name}${key}`, `${typeof value} ${typeof value === 'function' ? value.length : value.trim() !== ''}`]]
  ));
  assert.deepEqual(entries(de), entries(en));
});

// Everything that is seen or heard, hidden parts as well: they are seen later.
const said = (page) => page.evaluate(() => {
  const all = new Set();
  const add = (text) => text?.trim() && all.add(text.trim().replace(/\s+/g, ' '));
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let it = walker.nextNode(); it; it = walker.nextNode()) {
    if (it.nodeType === Node.TEXT_NODE && !it.parentElement.closest('noscript, code, [lang]:not(html), #sampler, #scheduler, #hires-sampler, #hires-scheduler')) add(it.data);
    else if (it.nodeType === Node.ELEMENT_NODE) for (const name of ['aria-label', 'title', 'placeholder', 'alt', 'aria-valuetext']) add(it.getAttribute(name));
  }
  return [...all];
});

// A visit with a bit of everything; nothing in it is found by its words.
async function visit(page) {
  await drop(page, [{ name: 'm.safetensors', text: '\x2c\0\0\0\0\0\0\0{"model.diffusion_model.x":0}                ' }]);
  await page.locator('#keep-model').waitFor();
  await drop(page, [{ name: 'cat.pt', text: 'x' }, { name: 'a dog.pt', text: 'x' }]);
  await page.locator('#embedding-list li').nth(1).waitFor();
  await page.locator('[name="prompt"]').fill('embedding:cat embedding:none');
  await page.locator('.marks li').nth(1).waitFor();
  for (const [name, value] of [['steps', 2], ['width', 64], ['height', 64], ['batchSize', 2]]) await page.locator(`[name="${name}"]`).fill(String(value));
  for (const summary of await page.locator('summary').all()) await summary.click();
  await page.locator('.facts table').nth(1).waitFor();
  await page.locator('#generate').click();
  await page.locator('#picture .others a').waitFor();
  await page.locator('[name="address"]').fill('nonsense');
  await page.locator('#shelf [type="submit"]').click();
  await page.locator('#messages p').waitFor();
  await page.locator('[name="batchSize"]').fill('1');
  await page.locator('#embedding-list li .buttons button').nth(1).click(); // Compare
  await page.locator('#series .save').waitFor();
  await page.locator('#stop[aria-disabled="true"]').waitFor();
  await page.locator('#gallery .tiles button').first().click();
  await page.locator('#gallery .opened').waitFor();
}

// What is the same in both: names, numbers and signs, words of the field, and what comes from files and the engine.
const SAME = new RegExp([
  /[^a-z]*/, /Wordbrush/, /Stable Diffusion 1\.5/, /Stable Diffusion 1\.5: https:.*/, /https:.*/, /embedding:cat embedding:none/,
  /✕|×|→|♻|⇄|∞/, /linear|Lanczos|Latents|Pixels?|v/, /Prompt|CFG|Seed|Sampler|Scheduler|Clip skip|Eta|Churn|Denoise|Embedding|Embeddings|Name|Text|VAE|TAESD|Norm|Esc/,
  /ComfyUI|AUTOMATIC1111/, /teal-star\.pt|magenta-heart\.bin|lime-diamond\.safetensors|teal\.png|failures\.safetensors/,
  /cat|a dog/, /m\.safetensors/, /fake/, /a lighthouse by the sea, in the style of embedding:my-style|text, watermark/,
  /[a-z ]* ?embedding:[a-z-]+ [a-z ]*|two outlined pink stars on a white background/, /cat \([\d.,]+\), <b>dog<\/b> \([\d.,]+\)/,
].map(({ source }) => `(?:${source})`).join('|'));
const isSame = (text) => new RegExp(`^(?:${SAME.source})$`).test(text);

test('no English is left in the German page, and no German in the English one', { timeout: 120_000 }, async () => {
  const english = await openIn('en-GB');
  await visit(english.page);
  const german = await openIn('de-AT');
  await german.page.locator('html[lang="de"]').waitFor();
  await visit(german.page);
  const [first, second] = [new Set(await said(english.page)), await said(german.page)];
  assert.ok(first.size > 200 && Math.abs(first.size - second.length) < 20, `${first.size} and ${second.length} texts`);
  assert.deepEqual(second.filter((text) => first.has(text) && !isSame(text)), []);
  assert.match(await german.page.locator('#shelf').textContent(), /MiB|KiB|GiB/);
  await check(german.page, 'German');
  await screenshot(german.page, 'german');
  // Its words are longer.
  await german.page.setViewportSize({ width: 360, height: 740 });
  await check(german.page, 'German on a phone');
  await screenshot(german.page, 'german-360');
  assert.deepEqual([...english.problems, ...german.problems], []);
  await english.page.context().close();
  await german.page.context().close();
});

test('every error of the package has a German sentence', () => {
  const types = readFileSync(file('../../pkg/index.d.ts'), 'utf8');
  const codes = [...types.split('export type ErrorCode =')[1].split('(string & {})')[0].matchAll(/^ {2}\| '(\w+)'/gm)].map(([, code]) => code);
  assert.ok(codes.length > 30, String(codes));
  assert.deepEqual(codes.filter((code) => !/^[A-ZÄÖÜ].*\.$/.test(de.page.problem(code))), []);
});

test('every warning of a prompt has a German sentence', () => {
  const folder = file('../../src/prompt/');
  const source = readdirSync(folder).map((name) => readFileSync(folder + name, 'utf8')).join('');
  const codes = new Set([...source.matchAll(/\bwarn\(\s*"(\w+)"/g)].map(([, code]) => code));
  assert.ok(codes.size >= 12, [...codes].join());
  assert.deepEqual([...codes].filter((code) => !/^[A-ZÄÖÜ„].*\.$/.test(de.form.warning(code))), []);
});

test('in the German page the engine’s sentences are marked as English, after a German one', async () => {
  const { page, problems } = await openIn('de-AT');
  const message = page.locator('#messages > div');
  await page.locator('#model-file').setInputFiles({ name: 'bad.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await message.waitFor();
  assert.equal(await message.locator('p').textContent(), 'Das gehört zu einer anderen Modellfamilie. bad.safetensors: this is an SDXL checkpoint.');
  assert.equal(await message.locator('[lang="en"]').textContent(), 'bad.safetensors: this is an SDXL checkpoint.');
  assert.equal(await message.getAttribute('lang'), 'de');
  await check(page, 'an error in German');
  await screenshot(page, 'german-error');
  await message.getByRole('button', { name: 'Schließen', exact: true }).click();

  await page.locator('#model-file').setInputFiles({ name: 'm.safetensors', mimeType: '', buffer: Buffer.from('x') });
  await page.locator('#model-status', { hasText: 'm.safetensors ist geladen' }).waitFor();
  // An engine that stops, and the page's own sentence after its own.
  await page.locator('[name="prompt"]').fill('lose the device');
  await page.getByRole('button', { name: 'Erzeugen', exact: true }).click();
  await message.filter({ hasText: 'Das Modell wurde neu geladen' }).waitFor();
  assert.equal(
    await message.locator('p').textContent(),
    'Die Grafikkarte ist ausgefallen. The GPU was lost. Das Modell wurde neu geladen; Prompt und Einstellungen sind noch da.',
  );
  assert.equal(await message.locator('[lang="en"]').textContent(), 'The GPU was lost.');
  const warning = page.locator('#prompt-warnings li');
  await page.locator('[name="prompt"]').fill('(too strong:1000)');
  await warning.waitFor();
  assert.equal(await warning.textContent(), 'Ein Gewicht ist zu stark. The weight is too strong.');
  assert.equal(await warning.locator('[lang="en"]').textContent(), 'The weight is too strong.');
  // The page's own errors are in its language alone, those of a recipe's reader are marked.
  await page.evaluate(async () => (await import('/www/app/recipes.js')).useRecipe(JSON.stringify({ notes: ['a remark'], sampler: 'none' }), 'test'));
  const notes = page.locator('#recipe .notes li');
  await notes.nth(1).waitFor();
  assert.deepEqual(await notes.evaluateAll((all) => all.map(({ textContent, lang }) => [textContent, lang])), [
    ['sampler „none“ gibt es hier noch nicht: euler bleibt gewählt.', ''], ['a remark', 'en'],
  ]);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('the browser’s language is the first one; another is chosen without losing anything, and stays', async () => {
  const { page, problems } = await openIn('fr-FR');
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  await visit(page);
  await page.getByRole('combobox', { name: 'Language', exact: true }).selectOption('Deutsch');
  await page.locator('html[lang="de"]').waitFor(); // Its words are fetched first.
  await page.getByRole('button', { name: 'Erzeugen', exact: true }).waitFor();
  await page.locator('#model-status', { hasText: /m\.safetensors ist geladen \(\d+,\d KiB/ }).waitFor();
  await page.getByRole('button', { name: 'cat entfernen', exact: true }).waitFor();
  await page.locator('#picture figcaption', { hasText: '64×64, 2 Schritte, CFG' }).waitFor();
  await page.getByText('Von diesem Bild ausgehen', { exact: true }).waitFor();
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'embedding:cat embedding:none');
  await page.reload();
  await page.locator('html[lang="de"]').waitFor();
  assert.equal(await page.getByRole('combobox', { name: 'Sprache', exact: true }).inputValue(), 'de');
  await page.getByRole('combobox', { name: 'Sprache', exact: true }).selectOption('English');
  await page.getByRole('button', { name: 'Generate', exact: true }).waitFor();
  assert.deepEqual(problems, []);
  await page.context().close();
});
