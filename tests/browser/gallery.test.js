// The queue and the gallery, with the built-in model: pictures in line, used again, saved, copied, kept for the next visit,
// deleted.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, screenshot } from './lib/browser.js';
import { downloaded, fill, finished, openDemo, pixels, serveDemo } from './lib/demo.js';
import { shown, texts } from './lib/png.js';

let server;
let browser;
let context;
let page;
let problems;
let gallery;
let tiles;
let told;

before(async () => {
  server = await serveDemo();
  browser = await launch();
  context = await browser.newContext({ serviceWorkers: 'block', permissions: ['clipboard-read', 'clipboard-write'] });
  ({ page, problems } = await openDemo(context, server, []));
  gallery = page.getByRole('region', { name: 'Gallery' });
  tiles = gallery.getByRole('list', { name: 'Pictures' }).getByRole('button');
  told = gallery.getByRole('status');
});
after(async () => {
  await browser?.close();
  server?.close();
});

const titles = () => tiles.evaluateAll((all) => all.map(({ title }) => title));
const press = (name) => gallery.getByRole('button', { name, exact: true }).click();
const generate = () => page.getByRole('button', { name: 'Generate' }).click();

test('Generate in the middle of a picture puts the next one in line; the line can be emptied', async () => {
  await fill(page, { Prompt: 'a star', Seed: 1, Steps: 30 });
  await generate();
  await page.locator('#progress', { hasText: /Step \d+ of 30/ }).waitFor();
  await fill(page, { Seed: 2, Steps: 1 });
  await generate();
  await page.locator('#queue', { hasText: '1 more waits.' }).waitFor();
  await fill(page, { Seed: 3, Prompt: 'two hearts' });
  await page.keyboard.press('Control+Enter');
  await page.locator('#queue', { hasText: '2 more wait.' }).waitFor();
  await screenshot(page, 'queue');
  await page.getByRole('button', { name: 'Empty the queue' }).click();
  assert.equal(await page.locator('#queue').textContent(), '');
  assert.ok(await page.getByRole('button', { name: 'Empty the queue' }).isHidden());
  await fill(page, { Seed: 2, Prompt: 'a star' });
  await generate();
  await fill(page, { Seed: 3, Prompt: 'two hearts' });
  await page.getByRole('button', { name: 'Generate' }).dblclick();
  await page.getByRole('button', { name: 'Stop' }).click(); // the first one alone
  await finished(page);
  assert.deepEqual(await titles(), ['two hearts, seed 3', 'a star, seed 2'], 'a double click is one picture');
});

test('a picture is opened, and its settings, its seed, its file and its pixels are used', async () => {
  await fill(page, { Prompt: 'something else', Seed: 9, Steps: 7 });
  await tiles.last().press('Enter');
  const opened = gallery.getByRole('img', { name: 'a star, seed 2' });
  await opened.waitFor();
  assert.equal(await tiles.last().getAttribute('aria-pressed'), 'true');
  await screenshot(page, 'gallery');
  await press('Use its seed');
  await page.waitForFunction(() => document.querySelector('#seed').value === '2');
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'something else');
  await press('Use its settings');
  await page.locator('#recipe .from', { hasText: 'the gallery’s picture' }).waitFor();
  const value = (label) => page.getByLabel(label, { exact: true }).inputValue();
  assert.deepEqual([await value('Prompt'), await value('Steps'), await value('CFG'), await value('Width')], ['a star', '1', '1', '64']);

  const save = () => downloaded(page, () => press('Download'));
  const full = await save();
  assert.equal(full.name, 'wordbrush-a-star-seed-2.png');
  assert.match(texts(full.bytes).parameters, /^a star\n/);
  await page.getByLabel('Saved pictures carry their recipe').uncheck();
  const bare = await save();
  assert.deepEqual(texts(bare.bytes), {});
  assert.deepEqual(shown(bare.bytes), shown(full.bytes), 'the same pixels');
  const newest = await downloaded(page, () => page.getByRole('link', { name: 'Download PNG' }).click());
  assert.deepEqual([newest.name, texts(newest.bytes)], ['wordbrush-3.png', {}]);

  await press('Copy picture');
  await told.getByText('Copied.').waitFor();
  const copied = await page.evaluate(async () => {
    const [item] = await navigator.clipboard.read();
    const bitmap = await createImageBitmap(await item.getType('image/png'));
    return [bitmap.width, bitmap.height];
  });
  assert.deepEqual(copied, [64, 64]);
});

test('a full storage is a sentence; the picture is there all the same', async () => {
  await page.evaluate(() => {
    IDBObjectStore.prototype.add = function refused() {
      this.transaction.abort();
      throw new DOMException('The quota has been exceeded.', 'QuotaExceededError');
    };
  });
  await fill(page, { Prompt: 'a circle', Seed: 4 });
  await generate();
  await told.getByText('New pictures are here until the page is closed, and not kept for the next visit: the browser’s storage is full; delete some to make room.').waitFor();
  await finished(page);
  assert.deepEqual(await titles(), ['a circle, seed 4', 'two hearts, seed 3', 'a star, seed 2']);
  await tiles.first().click();
  await gallery.getByRole('img', { name: 'a circle, seed 4' }).waitFor();
  assert.equal((await downloaded(page, () => press('Download'))).name, 'wordbrush-a-circle-seed-4.png');
  await tiles.last().click();
});

test('pictures and the switch are there at the next visit; arrows go through them; deleting is for good', async () => {
  const before = await pixels(gallery.getByRole('img', { name: 'a star, seed 2' }));
  await page.reload();
  await tiles.nth(1).waitFor();
  assert.deepEqual(await titles(), ['two hearts, seed 3', 'a star, seed 2']);
  assert.ok(!await page.getByLabel('Saved pictures carry their recipe').isChecked());
  await tiles.first().press('Enter');
  await tiles.first().press('ArrowRight');
  const second = gallery.getByRole('img', { name: 'a star, seed 2' });
  await second.waitFor();
  assert.equal(await pixels(second), before);
  await press('Delete');
  await told.getByText('Deleted.').waitFor();
  assert.deepEqual(await titles(), ['two hearts, seed 3']);
  await gallery.getByRole('img', { name: 'two hearts, seed 3' }).waitFor();
  await press('Close');
  assert.ok(await tiles.first().evaluate((it) => it === document.activeElement));
  await page.reload();
  await tiles.first().waitFor();
  assert.deepEqual(await titles(), ['two hearts, seed 3']);
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
