// The page with its built-in model loaded, set to pictures that take a moment.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { openPage, requireWebGPU } from './browser.js';
import { DEMO, serve } from './server.js';

const INDEX = fileURLToPath(new URL('../../../www/demo/index.json', import.meta.url));

export const serveDemo = (made = []) => serve(new Map([[DEMO, INDEX], ...made]));

export async function openDemo(browser, server, embeddings = ['teal-star.pt'], query = '') {
  const { page, problems } = await openPage(browser, `${server.url}/www/${query}`);
  await requireWebGPU(page);
  page.setDefaultTimeout(300_000);
  await page.getByRole('button', { name: 'Load the built-in model' }).click();
  await page.locator('#model-status', { hasText: 'shapes.safetensors is loaded' }).waitFor();
  for (const name of embeddings) {
    await page.getByRole('button', { name, exact: true }).click();
    await page.locator('#embedding-list .name', { hasText: name.split('.')[0] }).first().waitFor();
  }
  await fill(page, { Steps: 1, CFG: 1, Width: 64, Height: 64 });
  return { page, problems };
}

export async function fill(page, fields) {
  for (const [label, value] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(String(value));
}

// Waits until nothing is being made.
export async function finished(page) {
  await page.locator('#stop[aria-disabled="true"]').waitFor({ timeout: 600_000 });
  assert.deepEqual(await page.locator('#messages > div').allTextContents(), []);
}

export async function downloaded(page, click) {
  const download = page.waitForEvent('download');
  await click();
  const file = await download;
  return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
}

// What an img shows, as the sum of its pixels' bytes in hexadecimal.
export function pixels(image) {
  return image.evaluate(async (img) => {
    await img.decode();
    const canvas = new OffscreenCanvas(img.naturalWidth, img.naturalHeight);
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    return [...sum].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  });
}
