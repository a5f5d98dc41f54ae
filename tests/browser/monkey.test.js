// A monkey at the page: random things done by a seeded generator, on the stand-in for the engine and on the real one. After each,
// what the visitor has must be there. SEED and ACTIONS choose another walk and a longer one: a day is some 100 000 actions.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drop, launch, openPage, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { serve } from './lib/server.js';

const FAKE = fileURLToPath(new URL('lib/fake_engine.js', import.meta.url));
const SEED = Number(process.env.SEED ?? 1);
const ACTIONS = Number(process.env.ACTIONS ?? 0);
const MOST_PICTURES = 24;
const PIECES = ['a cat', ' ', '(red:1.2)', 'embedding:pet-1', '{a|b}', '<img src=x onerror=alert(1)>', '\u202e', '海', '😀', '\n', '((', 'BREAK', '\\'];

let server;
let browser;

before(async () => {
  server = await serve(fixtures());
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

class Monkey {
  #state;
  trace = [];
  embeddings = new Set();
  pictures = 0;
  prompt = '';

  constructor(page, seed) {
    this.page = page;
    this.#state = seed;
  }

  // mulberry32, a public-domain generator by Tommy Ettinger.
  random() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  below(end) { return Math.floor(this.random() * end); }
  one(list) { return list[this.below(list.length)]; }

  button(name) { return this.page.getByRole('button', { name, exact: true }); }
  field(label) { return this.page.getByLabel(label, { exact: true }); }
  get tiles() { return this.page.locator('#gallery .tiles button'); }

  async loadModel() {
    await this.page.locator('#model-file').setInputFiles({ name: 'small.safetensors', mimeType: '', buffer: server.made.get('/made/small.safetensors') });
    await this.page.locator('#stop-loading').waitFor({ state: 'hidden' });
    await this.page.locator('#model-status', { hasText: 'small.safetensors is loaded' }).waitFor();
  }

  async idle() {
    await this.page.locator('#stop[aria-disabled="true"]').waitFor();
    await this.page.locator('#progress').waitFor({ state: 'hidden' });
  }

  async small(steps) {
    for (const [label, value] of Object.entries({ Steps: steps, CFG: 1, Width: 64, Height: 64, 'Pictures at once': 1 })) await this.field(label).fill(String(value));
  }

  async write() {
    this.prompt = Array.from({ length: this.below(6) }, () => this.one(PIECES)).join('');
    await this.field('Prompt').fill(this.prompt);
  }

  async addEmbedding() {
    const name = `pet-${this.below(6)}`;
    await drop(this.page, [{ name: `${name}.pt`, url: '/made/feline.pt' }]);
    this.embeddings.add(name);
    await this.button(`Insert embedding:${name} into the prompt`).waitFor();
  }

  async removeEmbedding() {
    const name = this.one([...this.embeddings]);
    if (!name) return;
    await this.button(`Remove ${name}`).click();
    this.embeddings.delete(name);
    await this.button(`Insert embedding:${name} into the prompt`).waitFor({ state: 'detached' });
  }

  async insert() {
    const name = this.one([...this.embeddings]);
    if (!name) return;
    await this.button(`Insert embedding:${name} into the prompt`).click();
    this.prompt = await this.field('Prompt').inputValue();
    assert.ok(this.prompt.includes(`embedding:${name}`));
  }

  async generate() {
    if (this.pictures >= MOST_PICTURES) return this.deletePicture();
    await this.small(1 + this.below(2));
    await this.button('Generate').click();
    this.pictures += 1;
    await this.tiles.nth(this.pictures - 1).waitFor();
  }

  async generateThree() {
    if (this.pictures >= MOST_PICTURES) return this.deletePicture();
    await this.small(1);
    for (let i = 0; i < 3; i += 1) await this.field('Prompt').press('Control+Enter');
    this.pictures += 3;
    await this.tiles.nth(this.pictures - 1).waitFor();
  }

  async stop() {
    await this.small(100);
    await this.button('Generate').click();
    await this.page.locator('#progress').waitFor();
    if (this.below(2)) await this.page.locator('#progress', { hasText: /Step \d+ of/ }).waitFor();
    await (this.below(2) ? this.button('Stop').click() : this.page.keyboard.press('Escape'));
    await this.idle();
    await this.small(1);
  }

  async compare() {
    const name = this.one([...this.embeddings]);
    if (!name) return;
    await this.small(1);
    this.prompt = `a embedding:${name}`;
    await this.field('Prompt').fill(this.prompt);
    await this.button(`Compare with and without ${name}`).click();
    await this.page.locator('#progress').waitFor();
    if (this.below(2)) await this.page.keyboard.press('Escape');
    await this.idle();
    this.pictures = await this.settled(this.pictures); // the sheet is a picture too
  }

  // The gallery has these pictures, and at most one more.
  async settled(least) {
    const count = await this.tiles.count();
    assert.ok(count === least || count === least + 1, `${count} pictures, ${least} were there`);
    return count;
  }

  async deletePicture() {
    if (this.pictures === 0) return;
    await this.tiles.nth(this.below(this.pictures)).click();
    await this.page.locator('#gallery .delete').click();
    this.pictures -= 1;
    await this.page.locator('#gallery .told', { hasText: 'Deleted.' }).waitFor();
    await this.tiles.nth(this.pictures).waitFor({ state: 'detached' });
    if (await this.page.locator('#gallery .opened').isVisible()) await this.page.locator('#gallery .close').click();
  }

  async useSettings() {
    if (this.pictures === 0) return;
    await this.tiles.nth(this.below(this.pictures)).click();
    await this.page.locator('#gallery .settings').click();
    await this.page.locator('#recipe .from:not(:empty)').waitFor();
    await this.page.locator('#gallery .close').click();
    this.prompt = await this.field('Prompt').inputValue();
  }

  async toggles() {
    await this.button('New random seed').click();
    await this.button('Swap width and height').click();
    const name = this.one([...this.embeddings]);
    if (name) await this.page.locator('#embedding-list li', { has: this.button(`Remove ${name}`) }).locator('summary').click();
  }

  async wrongFile() {
    await drop(this.page, [{ name: 'page.pt', text: '' }]);
    await this.page.getByRole('alert').locator('[data-code="EMPTY_FILE"]').waitFor();
    await this.page.getByRole('alert').getByRole('button', { name: 'Dismiss' }).first().click();
  }

  async newModel() {
    const busy = this.below(2) === 1;
    if (busy) {
      await this.small(30);
      await this.button('Generate').click();
      this.pictures += 1;
    }
    await this.loadModel();
    await this.idle();
    if (busy) await this.tiles.nth(this.pictures - 1).waitFor();
  }

  async reload() {
    await this.page.reload();
    this.prompt = await this.field('Prompt').inputValue();
    await this.loadModel();
  }

  // `crash` is the stand-in's: see lib/fake_engine.js.
  async crash() {
    await this.small(3);
    this.prompt = 'panic in step';
    await this.field('Prompt').fill(this.prompt);
    await this.button('Generate').click();
    await this.page.getByRole('alert').locator('[data-code="INTERNAL"]').waitFor();
    await this.idle();
    await this.page.getByRole('alert').getByRole('button', { name: 'Dismiss' }).first().click();
    if (!(await this.page.locator('#model-status').textContent()).includes('is loaded')) await this.loadModel();
    await this.write();
  }

  async check() {
    // The list is told anew after a crash and a load, one embedding after the other.
    const wanted = [...this.embeddings].sort();
    const shown = async () => (await this.page.locator('#embedding-list .name').allTextContents()).sort();
    for (let i = 0; i < 100 && String(await shown()) !== String(wanted); i += 1) await this.page.waitForTimeout(100);
    assert.deepEqual(await shown(), wanted);
    assert.equal(await this.tiles.count(), this.pictures);
    assert.equal(await this.field('Prompt').inputValue(), this.prompt.replaceAll('\r', ''));
    assert.deepEqual(await this.page.locator('#messages > div').allTextContents(), []);
  }
}

const OFTEN = ['write', 'write', 'addEmbedding', 'removeEmbedding', 'insert', 'generate', 'generate', 'stop', 'deletePicture', 'useSettings', 'toggles', 'wrongFile'];
const SELDOM = ['generateThree', 'compare', 'newModel', 'reload'];

// What the page holds, after its garbage is collected.
async function held(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  await session.detach();
  const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
  return { heap: value('JSHeapUsedSize'), nodes: value('Nodes'), listeners: value('JSEventListeners') };
}

async function walk(t, { actions, kinds }) {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(120_000);
  const foreign = [];
  page.on('request', (request) => {
    if (![server.url, `blob:${server.url}`, 'data:'].some((own) => request.url().startsWith(own))) foreign.push(request.url());
  });
  const monkey = new Monkey(page, SEED);
  await monkey.loadModel();
  await monkey.small(1);
  let early;
  try {
    for (let i = 0; i < actions; i += 1) {
      const kind = monkey.one(kinds);
      monkey.trace.push(kind);
      await monkey[kind]();
      await monkey.check();
      assert.deepEqual([...problems, ...foreign], []);
      if (i === Math.floor(actions / 3)) {
        await monkey.reload();
        early = await held(page);
      }
    }
    await monkey.reload();
    await monkey.check();
    const late = await held(page);
    t.diagnostic(JSON.stringify({ SEED, actions, embeddings: monkey.embeddings.size, pictures: monkey.pictures, early, late }));
    // A page that was just opened holds what it shows, however much was done before; a picture in the gallery is a few nodes.
    assert.ok(late.heap < early.heap + 4e6, 'the page’s heap has grown');
    assert.ok(late.nodes < early.nodes + 20 * MOST_PICTURES + 400, 'the page’s nodes have grown');
    assert.ok(page.workers().length <= 2, `${page.workers().length} workers`);
  } catch (error) {
    await screenshot(page, 'monkey').catch(() => {});
    error.message = `SEED=${SEED}, action ${monkey.trace.length} (${monkey.trace.slice(-5).join(', ')}): ${error.message}`;
    throw error;
  }
  await page.close();
}

test('on the stand-in, with crashes', { timeout: 86_400_000 }, async (t) => {
  server.made.set('/pkg/wordbrush.js', FAKE);
  await walk(t, { actions: ACTIONS || 100, kinds: [...OFTEN, ...SELDOM, 'crash'] });
  server.made.delete('/pkg/wordbrush.js');
});

test('on the real engine', { timeout: 86_400_000 }, async (t) => {
  await walk(t, { actions: ACTIONS || 40, kinds: [...OFTEN, ...SELDOM] });
});
