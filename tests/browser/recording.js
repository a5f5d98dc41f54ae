// Records the page's main job for the README, from a real Chromium: `node recording.js` writes www/recording.webp, and
// www/screenshot.png beside it. Each frame is the page as it was; only the waiting between them is cut short.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launch } from './lib/browser.js';
import { fill, finished, openDemo, serveDemo } from './lib/demo.js';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const OUT = file('../../www/recording.webp');
const [WIDTH, HEIGHT, SCALE, QUALITY] = [1280, 860, 0.7, 55];

const server = await serveDemo();
const browser = await launch();
const { page } = await openDemo(browser, server);
await page.setViewportSize({ width: WIDTH, height: HEIGHT });
const cdp = await page.context().newCDPSession(page);
const frames = []; // {webp, duration in ms}

async function shoot(duration) {
  const clip = { ...await page.evaluate(() => ({ x: scrollX, y: scrollY })), width: WIDTH, height: HEIGHT, scale: SCALE };
  const { data } = await cdp.send('Page.captureScreenshot', { format: 'webp', quality: QUALITY, clip });
  const webp = Buffer.from(data, 'base64');
  if (frames.at(-1)?.webp.equals(webp)) frames.at(-1).duration += duration;
  else frames.push({ webp, duration });
}

// A frame whenever the line of progress says something else, until nothing is being made.
async function shootMaking(duration) {
  for (let said = ''; ;) {
    const handle = await page.waitForFunction((said) => {
      const now = document.querySelector('#stop').ariaDisabled === 'true' ? null : document.querySelector('#progress p').textContent;
      return now === said ? false : { now };
    }, said, { timeout: 600_000 });
    said = (await handle.jsonValue()).now;
    if (said === null) return;
    await shoot(duration);
  }
}

const view = (selector) => page.evaluate((selector) => {
  scrollTo(0, scrollY + document.querySelector(selector).getBoundingClientRect().top - 16);
}, selector);

const prompt = page.getByLabel('Prompt', { exact: true });
await prompt.fill('');
await fill(page, { Steps: 12, CFG: 2, Width: 128, Height: 128, Seed: 2032 });
await page.evaluate(() => scrollTo(0, 0));
await shoot(1500);
await view('#form');
await shoot(700);
for (const part of ['a ', 'drawing ', 'of a ', 'medium ', 'embed', 'ding:', 'te']) {
  await prompt.pressSequentially(part);
  await shoot(160);
}
await page.getByRole('listbox', { name: 'Names' }).waitFor();
await shoot(700);
await prompt.press('Enter');
for (const part of [' on ', 'a lav', 'ender ', 'background']) {
  await prompt.pressSequentially(part);
  await shoot(160);
}
await page.locator('.marks .found').waitFor();
await shoot(700);
await page.getByRole('button', { name: 'Generate', exact: true }).click();
await shootMaking(180);
await page.getByRole('img', { name: 'Generated picture' }).waitFor();
await shoot(2200);
await page.evaluate(() => scrollTo(0, 0));
await page.setViewportSize({ width: WIDTH, height: 1240 });
await page.screenshot({ path: file('../../www/screenshot.png') });
await page.setViewportSize({ width: WIDTH, height: HEIGHT });
await view('[aria-labelledby="embeddings-title"]');
await shoot(700);
await page.getByRole('button', { name: 'Compare with and without teal-star', exact: true }).click();
await shoot(300);
await page.locator('#series .told', { hasText: '3 pictures.' }).waitFor({ timeout: 900_000 });
await finished(page);
await view('[aria-labelledby="series-title"]');
await shoot(3000);
await browser.close();
server.close();

// The frames as one animation, which begins again at its end: https://developers.google.com/speed/webp/docs/riff_container
function chunk(name, data) {
  const head = Buffer.alloc(8);
  head.write(name);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
}

// The image alone, without the container of a single picture: VP8 has its size in it.
function imageOf(webp) {
  for (let at = 12; at < webp.length;) {
    const [name, length] = [webp.toString('latin1', at, at + 4), webp.readUInt32LE(at + 4)];
    if (name === 'VP8 ' || name === 'VP8L') return chunk(name, webp.subarray(at + 8, at + 8 + length));
    at += 8 + length + (length % 2);
  }
  throw new Error('a screenshot without an image');
}

const [width, height] = [WIDTH * SCALE, HEIGHT * SCALE].map(Math.round);
const animated = frames.map(({ webp, duration }) => {
  const head = Buffer.alloc(16);
  head.writeUIntLE(width - 1, 6, 3);
  head.writeUIntLE(height - 1, 9, 3);
  head.writeUIntLE(duration, 12, 3);
  return chunk('ANMF', Buffer.concat([head, imageOf(webp)]));
});
const features = Buffer.alloc(10);
features[0] = 0x02; // It is an animation.
features.writeUIntLE(width - 1, 4, 3);
features.writeUIntLE(height - 1, 7, 3);
const body = Buffer.concat([Buffer.from('WEBP'), chunk('VP8X', features), chunk('ANIM', Buffer.from([255, 255, 255, 255, 0, 0])), ...animated]);
writeFileSync(OUT, chunk('RIFF', body));
console.log(`${frames.length} frames, ${(body.length / 1e6).toFixed(2)} MB: ${OUT}`);
