// Pictures to start from: image to image, inpainting, a second pass; by the API and on the page.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { drop, launch, openPage, requireWebGPU, screenshot } from './lib/browser.js';
import { fixtures } from './lib/fixtures.js';
import { BLANK, serve } from './lib/server.js';

let server;
let browser;

before(async () => {
  server = await serve(new Map([...fixtures(), BLANK]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

test('a picture and a mask through the API', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/blank.html`);
  await requireWebGPU(page);
  const found = await page.evaluate(async () => {
    const { StableDiffusion, readRecipe, recipeText } = await import('/pkg/index.js');
    const file = async (name) => new File([await (await fetch(`/made/${name}`)).blob()], name);
    const sd = await StableDiffusion.load(await file('small.safetensors'));
    const canvas = (width, height, colour, paint) => {
      const made = new OffscreenCanvas(width, height);
      const context = made.getContext('2d');
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
      paint?.(context);
      return made;
    };
    const pixels = async ({ png }) => {
      const bitmap = await createImageBitmap(png);
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.drawImage(bitmap, 0, 0);
      return { width: bitmap.width, height: bitmap.height, data: [...context.getImageData(0, 0, bitmap.width, bitmap.height).data] };
    };
    const failure = (promise) => Promise.resolve(promise).then(() => 'nothing failed', ({ code, message }) => `${code}: ${message}`);
    const image = canvas(67, 75, 'teal', (context) => {
      context.fillStyle = 'orange';
      context.fillRect(0, 0, 30, 75);
    });
    // 64×72, which the image's 67×75 are cut to; the right half is painted anew.
    const mask = canvas(67, 75, 'black', (context) => {
      context.fillStyle = 'white';
      context.fillRect(33, 0, 34, 75);
    });
    const blob = await image.convertToBlob();
    const base = { prompt: 'a cat', steps: 2 };
    const plain = await pixels(await sd.generate({ ...base, image: blob, denoise: 0.5 }));
    const again = await pixels(await sd.generate({ ...base, image, denoise: 0.5 }));
    const stronger = await pixels(await sd.generate({ ...base, image, denoise: 1 }));
    // With A1111's conventions what is kept comes out as it went in; its masks are blurred over ten pixels unless told otherwise.
    const inpaint = async (more) => pixels(await sd.generate({ ...base, image, mask, denoise: 0.9, promptSyntax: 'a1111', ...more }));
    const soft = await inpaint();
    const masked = await inpaint({ maskBlur: 0 });
    const filled = await inpaint({ maskBlur: 0, maskedContent: 'fill' });
    const { png } = await sd.generate({ ...base, image, mask, denoise: 0.9, promptSyntax: 'a1111', maskedContent: 'latent noise' });
    const { maskBlur, maskedContent } = await readRecipe(png);
    // The image keeps its size where only what is masked is painted.
    const part = await inpaint({ maskBlur: 0, maskedPadding: 8, width: 64, height: 48 });
    const partRecipe = await readRecipe((await sd.generate({ ...base, image, mask, promptSyntax: 'a1111', maskedPadding: 8, width: 64, height: 48 })).png);
    const source = await pixels({ png: blob });
    const passes = [];
    const twice = sd.generate({ ...base, width: 64, height: 64, hires: { scale: 1.25, denoise: 0.5, steps: 2 } });
    for await (const event of twice) if (event.type === 'step') passes.push([event.pass, event.step, event.steps]);
    const larger = await pixels(await twice);
    const own = { prompt: 'a {red} dog', negativePrompt: '', seed: '9', sampler: 'dpmpp_2m', scheduler: 'karras', cfg: 3 };
    const second = await sd.generate({ ...base, width: 64, height: 64, hires: { scale: 1.25, denoise: 0.5, steps: 2, ...own } });
    const { hires } = await readRecipe(second.png);
    const text = await recipeText(await readRecipe(second.png), 'a1111');
    const changedBy = { own: String((await pixels(second)).data) !== String(larger.data), given: own, told: hires, text };
    const errors = [
      await failure(sd.generate({ ...base, mask })),
      await failure(sd.generate({ ...base, image: new Blob(['no picture']) })),
      await failure(sd.generate({ ...base, image, denoise: 0 })),
      await failure(sd.generate({ ...base, image, mask: canvas(67, 75, 'black') })),
      await failure(sd.generate({ ...base, width: 64, height: 64, hires: { scale: 1 } })),
      await failure(sd.generate({ ...base, width: 64, height: 64, hires: { upscaler: 'magic' } })),
      await failure(sd.generate({ ...base, image, maskBlur: 4 })),
      await failure(sd.generate({ ...base, image, mask, maskBlur: -1 })),
      await failure(sd.generate({ ...base, image, mask, maskedContent: 'air' })),
      await failure(sd.generate({ ...base, image, mask, maskedPadding: 8 })),
      await failure(sd.generate({ ...base, width: 64, height: 64, hires: { sampler: 'magic' } })),
    ];
    const usual = await pixels(await sd.generate({ ...base, width: 64, height: 64, prediction: 'v', zeroTerminalSnr: true }));
    await sd.dispose();
    return { part, partTold: [partRecipe.maskedPadding, partRecipe.width, partRecipe.height], changedBy, plain, again, stronger, soft, masked, filled, told: [maskBlur, maskedContent], source, passes, larger: [larger.width, larger.height], errors, usual: usual.width };
  });
  assert.deepEqual([found.plain.width, found.plain.height], [64, 72]);
  assert.deepEqual(found.plain.data, found.again.data, 'a Blob and a canvas are the same picture');
  assert.notDeepEqual(found.plain.data, found.stronger.data, 'the denoise matters');
  // The cut begins at ⌈(64 − 67) / 2⌉ = −1 and ⌈(72 − 75) / 2⌉ = −1.
  const at = ({ data, width }, x, y) => data.slice(4 * (y * width + x), 4 * (y * width + x) + 3);
  for (const [x, y] of [[0, 0], [20, 40], [31, 71]]) {
    assert.deepEqual(at(found.masked, x, y), at(found.source, x + 1, y + 1), `${x}, ${y} is kept`);
  }
  const changed = [[40, 10], [50, 40], [63, 71]].filter(([x, y]) => String(at(found.masked, x, y)) !== String(at(found.source, x + 1, y + 1)));
  assert.ok(changed.length > 0, 'the right half is painted anew');
  assert.deepEqual(at(found.soft, 20, 40), at(found.source, 21, 41), 'beyond the blur it is kept');
  assert.notDeepEqual(found.soft.data, found.masked.data, 'a blurred mask is another');
  assert.notDeepEqual(found.filled.data, found.masked.data, 'what lies under the mask matters');
  assert.deepEqual(found.told, [4, 'latent noise'], 'the recipe tells both');
  assert.deepEqual([found.part.width, found.part.height], [67, 75]);
  assert.deepEqual(at(found.part, 20, 40), at(found.source, 20, 40), 'nothing is cut off, and what is kept is as it was');
  assert.ok([[40, 10], [50, 40], [63, 71]].some(([x, y]) => String(at(found.part, x, y)) !== String(at(found.source, x, y))), 'the masked part is painted anew');
  assert.deepEqual(found.partTold, [8, 64, 48]);
  assert.ok(found.changedBy.own, 'what a second pass has of its own counts');
  // What is told is the template that gives the prompt again: its brace is one.
  const { given, told, text } = found.changedBy;
  assert.deepEqual({ ...told }, { ...given, prompt: 'a red dog', scale: 1.25, upscaler: 'latent', steps: 2, denoise: 0.5 });
  assert.match(text, /Hires prompt: a red dog, .*Hires sampler: DPM\+\+ 2M, Hires schedule type: Karras, Hires CFG Scale: 3/);
  assert.deepEqual(found.passes, [[1, 1, 2], [1, 2, 2], [2, 1, 2], [2, 2, 2]]);
  assert.deepEqual(found.larger, [80, 80]);
  const expected = [/^BAD_OPTION: mask/, /^BAD_OPTION: image is no picture/, /^BAD_OPTION: denoise is 0/, /^BAD_OPTION: the mask is empty/, /^BAD_OPTION: .*scale/, /^BAD_OPTION: .*latent-nearest-exact/, /^BAD_OPTION: maskBlur is given without a mask/, /^BAD_OPTION: the mask's blur is -1/, /^BAD_OPTION: .*latent nothing/, /^BAD_OPTION: .*AUTOMATIC1111/, /^BAD_OPTION: .*sampler/];
  expected.forEach((wanted, i) => assert.match(found.errors[i], wanted));
  assert.equal(found.usual, 64);
  assert.deepEqual(problems, []);
});

test('a picture to start from on the page, with a mask painted over it', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(120_000);
  await drop(page, [{ name: 'small.safetensors', url: '/made/small.safetensors' }]);
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await page.getByLabel('Prompt', { exact: true }).fill('a cat');
  await page.getByLabel('Steps', { exact: true }).fill('2');
  await page.getByLabel('Width', { exact: true }).fill('64');
  await page.getByLabel('Height', { exact: true }).fill('64');
  const made = async () => {
    const picture = page.locator('#picture img');
    const before = await picture.getAttribute('src');
    await page.getByRole('button', { name: 'Generate', exact: true }).click();
    await page.waitForFunction((src) => document.querySelector('#picture img').getAttribute('src') !== src, before);
    await page.locator('#stop[aria-disabled="true"]').waitFor();
  };
  await made();
  await page.getByRole('button', { name: 'Start from this picture' }).click();
  const canvas = page.locator('#start canvas');
  await canvas.waitFor();
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 4);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.75, { steps: 3 });
  await page.mouse.up();
  const { mask, denoise } = await page.evaluate(() => {
    const { mask, denoise } = document.getElementById('start').options;
    const { data } = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height);
    return { mask: [data[4 * (32 * 64 + 32)], data[0]], denoise };
  });
  assert.deepEqual(mask, [255, 0], 'the middle is painted, the corner is not');
  assert.equal(denoise, 0.75);
  await page.getByLabel('Mask blur', { exact: true }).fill('2');
  await page.getByLabel('Under the mask', { exact: true }).selectOption('colours around it');
  const { maskBlur, maskedContent } = await page.evaluate(() => {
    const { maskBlur, maskedContent } = document.getElementById('start').options;
    return { maskBlur, maskedContent };
  });
  assert.deepEqual([maskBlur, maskedContent], [2, 'fill']);
  // Only the masked part: AUTOMATIC1111's way, and the picture keeps its size.
  await page.locator('[name="promptSyntax"]').selectOption('AUTOMATIC1111');
  await page.getByLabel('Only the masked part, pixels around', { exact: true }).fill('8');
  await made();
  await screenshot(page, 'start');
  assert.equal(await page.evaluate(() => document.getElementById('start').options.maskedPadding), 8);
  assert.match(await page.locator('#picture').textContent(), /64×64/);
  await page.getByRole('button', { name: 'Clear the mask' }).click();
  assert.equal(await page.evaluate(() => document.getElementById('start').options.mask), undefined);
  await page.getByRole('button', { name: 'Remove the picture' }).click();
  assert.deepEqual(await page.evaluate(() => document.getElementById('start').options), {});
  await page.locator('[name="start-file"]').setInputFiles({ name: 'notes.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
  await page.getByText('notes.png is no picture that this browser can read.').waitFor();
  assert.deepEqual(problems, []);
});

test('a second pass on the page, with settings of its own', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  await page.getByText('Second pass at a larger size', { exact: true }).click();
  // What is undefined is left out.
  const hires = () => page.evaluate(() => JSON.stringify(document.querySelector('prompt-form').options.hires)).then((text) => text && JSON.parse(text));
  assert.equal(await hires(), undefined);
  await page.getByLabel('Enlarge by', { exact: true }).fill('1.5');
  assert.deepEqual(await hires(), { scale: 1.5, upscaler: 'latent', denoise: 0.7 });
  await page.getByLabel('Made larger', { exact: true }).selectOption('directions (bislerp)');
  for (const [label, text] of [['Its steps', '12'], ['Its CFG', '4'], ['Its seed', '9'], ['Its prompt', 'a star'], ['Its negative prompt', 'red']]) {
    await page.getByLabel(label, { exact: true }).fill(text);
  }
  await page.getByLabel('Its sampler', { exact: true }).selectOption('dpmpp_2m');
  await page.getByLabel('Its scheduler', { exact: true }).selectOption('karras');
  const own = { prompt: 'a star', negativePrompt: 'red', seed: '9', sampler: 'dpmpp_2m', scheduler: 'karras', cfg: 4 };
  assert.deepEqual(await hires(), { scale: 1.5, upscaler: 'latent-bislerp', denoise: 0.7, steps: 12, ...own });
  await screenshot(page, 'second_pass');
  // A recipe without a second pass empties them, one with it fills them.
  const told = 'a cat\nNegative prompt: \nSteps: 20, Sampler: Euler, Seed: 1, Size: 512x512, Denoising strength: 0.5, Hires upscale: 2, Hires upscaler: Latent (bicubic), Hires sampler: DPM++ 2M, Hires prompt: a dog';
  await page.evaluate(async (text) => (await import('/www/app/recipes.js')).useRecipe(text, 'a text'), told);
  const expected = { scale: 2, upscaler: 'latent-bicubic', denoise: 0.5, prompt: 'a dog', sampler: 'dpmpp_2m' };
  assert.deepEqual(await hires(), expected);
  assert.deepEqual(problems, []);
});
