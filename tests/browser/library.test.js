// Embeddings and recipes on the real engine: facts, crafting, files of them, round trips, and what is kept over a reload.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { drop, launch, openPage, requireWebGPU } from './lib/browser.js';
import { CAT, fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

let server;
let browser;
let page;
let problems;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK]));
  browser = await launch();
  ({ page, problems } = await openPage(browser, `${server.url}/blank.html`));
  await requireWebGPU(page);
  await page.evaluate(async () => {
    const wordbrush = await import('/pkg/index.js');
    const file = async (name) => new File([await (await fetch(`/made/${name}`)).blob()], name);
    const hash = async (blob) => {
      const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
      return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    // The pixels: the bytes of two pictures differ where their recipes do.
    const pixels = async (result) => {
      const bitmap = await result.image();
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      return hash(new Blob([context.getImageData(0, 0, bitmap.width, bitmap.height).data]));
    };
    const picture = (prompt, options = {}) => sd.generate({ prompt, steps: 2, width: 64, height: 64, ...options });
    const code = (promise) => Promise.resolve(promise).then(() => 'nothing failed', (error) => error.code);
    Object.assign(globalThis, wordbrush, { file, hash, pixels, picture, code });
    globalThis.sd = await wordbrush.StableDiffusion.load(await file('small.safetensors'));
  });
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('facts: the word whose row an embedding is, is the nearest', async () => {
  const facts = await page.evaluate(async () => {
    await sd.addEmbedding(await file('feline.pt'));
    return { ...await sd.embeddingFacts('feline'), none: await code(sd.embeddingFacts('none')) };
  });
  assert.equal(facts.norms.length, 1);
  assert.ok(facts.norms[0] > 0 && facts.vocabularyNorm > 0 && Math.round(75 * facts.budget) === 1, JSON.stringify(facts));
  assert.equal(facts.nearest[0][0].id, CAT);
  assert.ok(facts.nearest[0][0].cosine > 0.999 && facts.nearest[0][0].cosine >= facts.nearest[0][1].cosine);
  assert.match(facts.nearest[0][0].word, /^cat/);
  assert.equal(facts.none, 'BAD_OPTION');
});

test('an embedding crafted from a word gives the word’s picture; its files give it again', async () => {
  const result = await page.evaluate(async () => {
    await sd.craftEmbedding({ name: 'made', kind: 'text', text: 'cat' });
    await sd.craftEmbedding({ name: 'half', kind: 'scale', of: 'made', factor: 0.5 });
    await sd.craftEmbedding({ name: 'mixed', kind: 'mix', terms: [{ name: 'half', factor: 1 }, { name: 'made', factor: 0.5 }] });
    await sd.craftEmbedding({ name: 'pair', kind: 'concat', names: ['half', 'mixed'] });
    await sd.craftEmbedding({ name: 'second', kind: 'rows', of: 'pair', rows: [1] });
    for (const format of ['safetensors', 'pt']) {
      await sd.addEmbedding(new File([await sd.exportEmbedding('made', format)], `again-${format}.${format}`));
    }
    const names = ['made', 'mixed', 'second', 'again-safetensors', 'again-pt'];
    const pictures = {};
    for (const name of names) pictures[name] = await pixels(await picture(`a embedding:${name} on a hill`));
    return {
      word: await pixels(await picture('a cat on a hill')), other: await pixels(await picture('a embedding:half on a hill')), pictures,
      wrong: [
        await code(sd.craftEmbedding({ name: 'x', kind: 'text', text: 'a', factor: 2 })),
        await code(sd.craftEmbedding({ name: 'x', kind: 'rows', of: 'made', rows: [1] })),
        await code(sd.craftEmbedding({ name: 'x', kind: 'knit' })), await code(sd.exportEmbedding('made', 'ckpt')),
      ],
    };
  });
  for (const [name, picture] of Object.entries(result.pictures)) assert.equal(picture, result.word, name);
  assert.notEqual(result.other, result.word);
  assert.deepEqual(result.wrong, ['UNKNOWN_OPTION', 'BAD_OPTION', 'BAD_OPTION', 'BAD_OPTION']);
});

for (const promptSyntax of ['comfy', 'a1111']) {
  test(`a picture carries its recipe (${promptSyntax}): read and used again, it gives the same file`, async () => {
    const result = await page.evaluate(async (promptSyntax) => {
      const prompt = promptSyntax === 'a1111' ? 'a [cat:dog:0.5], (feline:1.2)' : 'a (embedding:feline:1.2), dog';
      const options = { negativePrompt: 'text, 日本', seed: '18446744073709551615', cfg: 6.5, clipSkip: 2, promptSyntax };
      // The hash of the model may come between two pictures, so it is waited for.
      await new Promise((resolve) => { setTimeout(resolve, 1500); });
      const { png } = await picture(prompt, options);
      const recipe = await readRecipe(png);
      const names = ['prompt', 'negativePrompt', 'steps', 'cfg', 'width', 'height', 'seed', 'sampler', 'scheduler', 'clipSkip', 'promptSyntax'];
      const again = await sd.generate(Object.fromEntries(names.map((name) => [name, recipe[name]])));
      const texts = {};
      for (const form of ['a1111', 'comfy', 'workflow']) texts[form] = (await readRecipe(await recipeText(recipe, form))).seed;
      return { prompt, recipe, same: await hash(png) === await hash(again.png), texts };
    }, promptSyntax);
    assert.equal(result.recipe.negativePrompt, 'text, 日本');
    assert.equal(result.recipe.seed, '18446744073709551615');
    assert.equal(result.recipe.promptSyntax, promptSyntax);
    assert.ok(result.recipe.modelHash, JSON.stringify(result.recipe));
    assert.equal(result.recipe.embeddings[0]?.name, 'feline', JSON.stringify(result.recipe));
    assert.ok(result.same, JSON.stringify(result.recipe));
    for (const [form, seed] of Object.entries(result.texts)) assert.equal(seed, '18446744073709551615', form);
  });
}

test('a recipe with settings of noise and guidance, of a batch: given to generate, it makes the same files', async () => {
  const result = await page.evaluate(async () => {
    const settings = {
      seed: 5, sampler: 'euler_ancestral', eta: 0.5, sNoise: 1.05, variationSeed: '9', variationStrength: 0.25, seedDelta: '31337',
      cfgRescale: 0.7, guidanceStart: 0.1, guidanceEnd: 0.9,
    };
    const found = {};
    for (const options of [{ ...settings, batchSize: 2 }, { ...settings, promptSyntax: 'a1111' }, { sampler: 'ddim', eta: 0.3, promptSyntax: 'a1111' }]) {
      const made = (await picture('a cat', options)).images;
      const last = made.at(-1).png;
      const recipe = await readRecipe(last);
      const again = (await sd.generate(recipe)).images;
      const text = await recipeText(recipe);
      const rewritten = {};
      for (const form of ['a1111', 'comfy', 'workflow']) rewritten[form] = await readRecipe(await recipeText(recipe, form));
      found[options.sampler + (options.promptSyntax ?? '')] = {
        recipe, text, same: await hash(last) === await hash(again.at(-1).png), count: again.length,
        forms: Object.entries(rewritten).filter(([, other]) => JSON.stringify({ ...other, notes: [] }) !== JSON.stringify({ ...recipe, notes: [] })),
      };
    }
    return found;
  });
  for (const [name, { recipe, same, forms }] of Object.entries(result)) {
    assert.ok(same, `${name}: ${JSON.stringify(recipe)}`);
    assert.deepEqual(recipe.notes, [], name);
    assert.deepEqual(forms, [], name);
  }
  const { recipe, count } = result.euler_ancestral;
  assert.deepEqual([recipe.batchSize, recipe.batchPosition, count], [2, 1, 2]);
  assert.deepEqual([recipe.eta, recipe.variationStrength, recipe.cfgRescale, recipe.guidanceEnd], [0.5, 0.25, 0.7, 0.9]);
  assert.match(result.ddima1111.text, /Eta DDIM: 0\.3/);
  assert.equal(result.ddima1111.recipe.eta, 0.3);
});

test('a dynamic prompt: the recipe has what was chosen, and gives the same pixels', async () => {
  const { prompt, same, file, rewritten, braces } = await page.evaluate(async () => {
    const first = await picture('a {cat|dog|house}', { seed: 5 });
    const recipe = await readRecipe(first.png);
    const again = await picture(recipe.template, { seed: 5 });
    const braces = await readRecipe((await picture('a \\{cat\\}', { seed: 5 })).png);
    return {
      prompt: recipe.prompt,
      same: await pixels(first) === await pixels(await picture(recipe.prompt, { seed: 5 })),
      file: await hash(first.png) === await hash(again.png),
      rewritten: JSON.stringify(await readRecipe(await recipeText(recipe, 'a1111'))) === JSON.stringify(recipe),
      braces: [braces.prompt, braces.template],
    };
  });
  assert.match(prompt, /^a (cat|dog|house)$/);
  assert.ok(same);
  assert.ok(file, 'the template gives the same file');
  assert.ok(rewritten, 'read, written and read again is the same');
  assert.deepEqual(braces, ['a {cat}', 'a \\{cat\\}']);
});

test('dropped on the page and made again, a picture with braces in both prompts gives the same file', async () => {
  const { page: www, problems: onPage } = await openPage(browser, `${server.url}/www/`);
  www.setDefaultTimeout(60_000);
  await drop(www, [{ name: 'small.safetensors', url: '/made/small.safetensors' }]);
  await www.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  const negative = String.raw`text, \{logo\}, {blurry|grainy}`;
  const png = Buffer.from(await page.evaluate(async (negativePrompt) => {
    const { png } = await picture('a {cat|dog} \\{1\\}', { seed: 5, negativePrompt });
    return [...new Uint8Array(await png.arrayBuffer())];
  }, negative));
  server.made.set('/made/braces.png', png);
  await drop(www, [{ name: 'braces.png', url: '/made/braces.png' }]);
  await www.locator('#recipe .from', { hasText: 'braces.png' }).waitFor();
  assert.equal(await www.getByLabel('Negative prompt', { exact: true }).inputValue(), negative);
  await www.getByRole('button', { name: 'Generate' }).click();
  const download = www.waitForEvent('download');
  await www.getByRole('link', { name: 'Download PNG' }).click();
  assert.deepEqual(await readFile(await (await download).path()), png);
  assert.deepEqual(onPage, []);
  await www.close();
});

test('A1111’s syntax: bare words name embeddings, weights are its own', async () => {
  const { plain, bare, comfy, used } = await page.evaluate(async () => ({
    plain: await pixels(await picture('a cat', { promptSyntax: 'a1111' })),
    bare: await pixels(await picture('a feline', { promptSyntax: 'a1111' })),
    comfy: await pixels(await picture('a feline')),
    used: [(await sd.tokens('a feline')).used, (await sd.tokens('a feline', { promptSyntax: 'a1111' })).used],
  }));
  assert.equal(bare, plain);
  assert.notEqual(comfy, bare);
  assert.deepEqual(used, [[], ['feline']]);
});

test('a separate VAE decodes from then on; what is no VAE is refused and changes nothing', async () => {
  const result = await page.evaluate(async () => {
    const bytes = async () => {
      const bitmap = await (await picture('a cat')).image();
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
    };
    const own = await bytes();
    await sd.loadVae(await file('vae.safetensors'));
    const same = await bytes();
    await sd.loadVae(await file('bright.safetensors'));
    const bright = await bytes();
    const refused = await code(sd.loadVae(await file('two-words.safetensors')));
    const { vae } = await readRecipe((await picture('a cat')).png);
    const after = await bytes();
    await sd.loadVae(await file('vae.safetensors'));
    return { same: same.join() === own.join(), white: bright.every((byte) => byte === 255), refused, vae, stays: after.join() === bright.join() };
  });
  assert.deepEqual(result, { same: true, white: true, refused: 'WRONG_FAMILY', vae: 'bright.safetensors', stays: true });
});

test('a text without a recipe is refused', async () => {
  assert.equal(await page.evaluate(() => code(readRecipe(new Blob([new Uint8Array(100)])))), 'NO_RECIPE');
});

test('the page keeps embeddings over a reload, and makes a dropped picture again', async () => {
  const { page: www, problems: onPage } = await openPage(browser, `${server.url}/www/`);
  www.setDefaultTimeout(60_000);
  const made = (...names) => names.map((name) => ({ name, url: `/made/${name}` }));
  await drop(www, made('small.safetensors', 'feline.pt'));
  await www.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await www.getByText('1 kept in this browser').waitFor();
  await www.reload();
  await www.locator('#embedding-list li', { hasText: 'waits for a model' }).waitFor();
  await drop(www, made('small.safetensors'));
  await www.locator('#embedding-list li', { hasText: '1 vector × 64' }).waitFor();
  await www.getByText('Details').first().click();
  await www.locator('.facts td', { hasText: /^cat/ }).waitFor();

  const png = Buffer.from(await page.evaluate(async () => {
    const { png } = await picture('a embedding:feline by the sea', { seed: 77 });
    return [...new Uint8Array(await png.arrayBuffer())];
  }));
  server.made.set('/made/picture.png', png);
  await drop(www, made('picture.png'));
  await www.locator('#recipe .from', { hasText: 'picture.png' }).waitFor();
  assert.equal(await www.getByLabel('Prompt', { exact: true }).inputValue(), 'a embedding:feline by the sea');
  assert.equal(await www.getByLabel('Seed', { exact: true }).inputValue(), '77');
  assert.ok(!/missing/.test(await www.locator('#recipe .notes').textContent()));
  assert.deepEqual(onPage, []);
  await www.close();
});

test('a picture that holds an embedding, in a text or in its pixels, is dropped on the page and adds it', async () => {
  const { page: www, problems: onPage } = await openPage(await browser.newContext({ serviceWorkers: 'block' }), `${server.url}/www/`);
  www.setDefaultTimeout(60_000);
  const corpus = (name) => drop(www, [{ name, url: `/tests/corpus/files/${name}` }]);
  const alert = www.getByRole('alert').locator('div');
  const row = www.locator('#embedding-list li', { has: www.locator('.name', { hasText: /^in-the-picture$/ }) });

  // Without a model only what a picture says in its metadata is seen.
  await corpus('picture_hidden.png');
  await alert.filter({ hasText: 'load a model first and drop it again' }).waitFor();
  await corpus('picture_text.png');
  await www.locator('#embedding-list li', { hasText: 'picture_text.png' }).filter({ hasText: 'waits for a model' }).waitFor();
  await drop(www, [{ name: 'small.safetensors', url: '/made/small.safetensors' }]);
  await row.filter({ hasText: '2 vectors × 64' }).waitFor();
  await www.getByText('1 kept in this browser').waitFor();

  for (const name of ['picture_hidden.png', 'picture_hidden.webp', 'picture_ztxt.png', 'picture_hidden_alpha.png']) {
    await www.getByRole('button', { name: 'Remove in-the-picture' }).click();
    await row.waitFor({ state: 'detached' });
    await corpus(name);
    await row.filter({ hasText: '2 vectors × 64' }).waitFor();
  }
  // The first vector is the file’s: 64 numbers from -0.5 in steps of 1/64, as tests/corpus/index.json has them.
  const norm = Math.hypot(...Array.from({ length: 64 }, (_, i) => -0.5 + i / 64)).toFixed(3);
  await row.getByText('Details').click();
  await row.locator('.facts tbody tr', { hasText: norm }).first().waitFor();
  await www.getByRole('button', { name: 'Insert embedding:in-the-picture into the prompt' }).click();
  await www.locator('#token-count', { hasText: '2 tokens' }).waitFor();
  await www.reload();
  await www.locator('#embedding-list li', { hasText: 'picture_hidden_alpha.png' }).filter({ hasText: 'waits for a model' }).waitFor();

  await drop(www, [{ name: 'small.safetensors', url: '/made/small.safetensors' }]);
  await row.filter({ hasText: '2 vectors × 64' }).waitFor();
  assert.equal(await alert.count(), 0);
  await corpus('no_embedding.png');
  await alert.filter({ hasText: 'carries no recipe' }).waitFor();
  assert.equal(await www.locator('#embedding-list .name').count(), 1);
  assert.deepEqual(onPage, []);
  await www.context().close();
});

test('nothing was left uncaught', () => assert.deepEqual(problems, []));
