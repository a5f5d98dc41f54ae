// Chromium with WebGPU on SwiftShader, and pages that remember everything that went wrong on them.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const OUT = fileURLToPath(new URL('../out/', import.meta.url));
mkdirSync(OUT, { recursive: true });

const QUIET = [
  '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync',
];
// Without the first flag the adapter is null: that is the test without a GPU.
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

// With a `profile` (a folder) it is no private window; what comes back is a context then. `more` are arguments of Chromium's.
export async function launch({ webgpu = true, profile, more = [] } = {}) {
  const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
  const executablePath = process.env.CHROMIUM ?? found;
  assert.ok(executablePath, 'No Chromium was found: install it, or name it in the variable CHROMIUM.');
  const options = { executablePath, args: [...QUIET, ...(webgpu ? WEBGPU : []), ...more] };
  return profile ? chromium.launchPersistentContext(profile, options) : chromium.launch(options);
}

// `before` runs in the page before its own scripts. The service worker fetches on its own and would be seen by tests that count
// what is fetched, so it is off unless asked for.
export async function openPage(browser, url, { before = () => {}, serviceWorkers = 'block' } = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, serviceWorkers });
  const problems = [];
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('crash', () => problems.push('the page crashed'));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.addInitScript(before);
  await page.goto(url);
  return { page, problems };
}

// The tests of the engine are worth nothing without an adapter, so they do not start without one.
export async function requireWebGPU(page) {
  const found = await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
  assert.ok(found, 'NO_GPU: this Chromium gives no WebGPU adapter, not even SwiftShader; the browser tests need one.');
}

// Drops files as the browser would: `files` are {name, url} on the test's own server, or {name, text}.
export function drop(page, files) {
  return page.evaluate(async (wanted) => {
    const transfer = new DataTransfer();
    for (const { name, url, text } of wanted) {
      const content = url ? await (await fetch(url)).blob() : text;
      transfer.items.add(new File([content], name));
    }
    for (const type of ['dragenter', 'dragover', 'drop']) {
      const event = new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.querySelector('main').dispatchEvent(event);
    }
  }, files);
}

// Drops files and folders of the disk, as a person does.
export async function dropPaths(page, paths) {
  const cdp = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) await cdp.send('Input.dispatchDragEvent', { type, x: 200, y: 200, data });
  await cdp.detach();
}

export async function screenshot(page, name) {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${OUT}${name}.png`, fullPage: true });
}

// Until what the page's service worker keeps under a URL is as wanted.
export const kept = (page, url, wanted) => page.evaluate(async ([url, wanted]) => {
  for (;;) {
    const response = await caches.match(url);
    if (response && (wanted === undefined || await response.text() === wanted)) return;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}, [url, wanted]);
