// Every state of the page under axe, in light, in dark and at 360 pixels; and the main job by keyboard alone.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { check } from './lib/axe.js';
import { drop, launch, openPage, screenshot } from './lib/browser.js';
import { fill, finished, openDemo, serveDemo } from './lib/demo.js';
import { fixtures } from './lib/fixtures.js';

let server;
let browser;

before(async () => {
  server = await serveDemo(new Map([...fixtures()].filter(([name]) => /\/(wide|cut)\.pt$/.test(name))));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

// The state as it is in light, in dark, and on a phone; screenshots are looked at.
async function looks(page, state) {
  for (const [name, colorScheme, width, height] of [['light', 'light', 1280, 900], ['dark', 'dark', 1280, 900], ['360', 'dark', 360, 740]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await check(page, `${state}, ${name}`);
    await screenshot(page, `look-${state}-${name}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 900 });
}

test('no state of the page has serious findings, or is wider than a phone', { timeout: 900_000 }, async () => {
  const empty = await openPage(browser, `${server.url}/www/`);
  await empty.page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  await looks(empty.page, 'opened');
  await empty.page.close();

  const { page, problems } = await openDemo(browser, server, ['teal-star.pt', 'lime-diamond.safetensors']);
  await drop(page, ['wide.pt', 'cut.pt'].map((name) => ({ name, url: `/made/${name}` })));
  await page.getByRole('alert').locator('div').nth(1).waitFor();
  const prompt = page.getByLabel('Prompt', { exact: true });
  await prompt.fill('embedding:teal-star embedding:wide embedding:teal-sta ');
  await page.locator('.marks li').nth(2).waitFor();
  for (const summary of await page.locator('summary').all()) await summary.click();
  await page.locator('.facts table').nth(1).waitFor();
  await looks(page, 'unfolded');
  for (const summary of await page.locator('summary').all()) await summary.click();
  for (let left = 2; left > 0; left -= 1) await page.getByRole('alert').getByRole('button', { name: 'Dismiss' }).first().click();

  await prompt.pressSequentially('embedding:');
  await page.getByRole('listbox', { name: 'Names' }).waitFor();
  await check(page, 'completing');
  await prompt.press('Escape');

  await fill(page, { Prompt: 'a embedding:teal-star', Steps: 40 });
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.getByRole('button', { name: 'Generate' }).click();
  await page.locator('#progress', { hasText: /Step \d+ of 40/ }).waitFor();
  await page.getByRole('button', { name: 'Compare with and without teal-star', exact: true }).click();
  await page.locator('#queue', { hasText: '2 more wait.' }).waitFor();
  await check(page, 'making');
  await page.getByRole('button', { name: 'Empty the queue' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await finished(page);

  await fill(page, { Steps: 1 });
  await page.getByRole('button', { name: 'Compare with and without teal-star', exact: true }).click();
  await page.locator('#series .told', { hasText: '3 pictures.' }).waitFor();
  await finished(page);
  await page.locator('#gallery .tiles button').first().click();
  await page.getByRole('button', { name: 'Start from this picture' }).click();
  await page.locator('#copies').waitFor();
  await looks(page, 'made');
  assert.deepEqual(problems, []);
  await page.close();
});

test('the main job by keyboard alone: load, add, write, make, compare, open, save', { timeout: 900_000 }, async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`);
  page.setDefaultTimeout(300_000);
  await page.getByRole('group', { name: 'Examples', exact: true }).waitFor();
  const focused = () => page.evaluate(() => {
    const it = document.activeElement;
    return it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent.trim().split('\n')[0].trim() ?? it.textContent.trim();
  });
  // Tab goes on to what is wanted; what it passes must show where it is.
  const tabTo = async (wanted) => {
    for (let presses = 0; presses < 80; presses += 1) {
      await page.keyboard.press('Tab');
      assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none', await focused());
      if (wanted.test(await focused())) return;
    }
    assert.fail(`Tab never came to ${wanted}`);
  };
  const type = async (text) => {
    await page.keyboard.press('Control+a');
    await page.keyboard.type(text);
  };
  await tabTo(/^Load the built-in model/);
  await page.keyboard.press('Enter');
  await page.locator('#model-status', { hasText: 'is loaded' }).waitFor();
  await tabTo(/^lime-diamond/);
  await page.keyboard.press('Enter');
  await page.locator('#embedding-list .name', { hasText: 'lime-diamond' }).waitFor();
  await tabTo(/^Prompt/);
  await type('a embedding:li');
  await page.getByRole('listbox', { name: 'Names' }).getByRole('option').waitFor();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Control+ArrowUp');
  assert.equal(await page.getByLabel('Prompt', { exact: true }).inputValue(), 'a (embedding:lime-diamond:1.05)');
  for (const [label, value] of [['Steps', '1'], ['CFG', '1'], ['Width', '64'], ['Height', '64']]) {
    await tabTo(new RegExp(`^${label}$`));
    await type(value);
  }
  await page.keyboard.press('Control+Enter');
  await page.locator('#stop[aria-disabled="false"]').waitFor();
  await finished(page);
  await page.getByRole('img', { name: 'Generated picture' }).waitFor();
  await tabTo(/^Compare with and without lime-diamond/);
  await page.keyboard.press('Enter');
  await page.locator('#series .told', { hasText: '3 pictures.' }).waitFor();
  await finished(page);
  await tabTo(/^Download as one picture/);
  let download = page.waitForEvent('download');
  await page.keyboard.press('Enter');
  assert.match((await download).suggestedFilename(), /lime-diamond/);
  await tabTo(/^lime-diamond: with, without/);
  await page.keyboard.press('Enter');
  await page.locator('.opened').waitFor();
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'Download');
  download = page.waitForEvent('download');
  await page.keyboard.press('Enter');
  await download;
  assert.deepEqual(problems, []);
  await page.close();
});

test('who wants less motion gets none', async () => {
  const { page } = await openPage(browser, `${server.url}/www/`);
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((it) => {
    const { transitionDuration, animationDuration, scrollBehavior } = getComputedStyle(it);
    return [transitionDuration, animationDuration].some((time) => parseFloat(time) > 0.001) || scrollBehavior === 'smooth';
  }).length);
  assert.equal(moving, 0);
  await page.close();
});
