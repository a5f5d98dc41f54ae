// Contenders in headless Chromium, a page each; on SwiftShader, as the browser tests have it.

import { join } from 'node:path';
import { launch } from '../../../tests/browser/lib/browser.js';
import { BLANK, serve } from '../../../tests/browser/lib/server.js';

export async function openChromium() {
  const server = await serve(new Map([BLANK]));
  const browser = await launch();
  const openPage = async () => {
    const page = await browser.newPage();
    page.on('console', (message) => console.log(`  ${message.text()}`));
    page.setDefaultTimeout(0);
    await page.goto(`${server.url}/blank.html`);
    return page;
  };
  const first = await openPage();
  const adapter = await first.evaluate(async () => (await import('/benches/peers/hosts/adapter.js')).describe(navigator.gpu));
  await first.close();
  return {
    adapter,
    open: async () => {
      const page = await openPage();
      return {
        load: ({ folder, files, ...options }) => load(page, folder, files, options),
        step: () => page.evaluate(async () => (await import('/benches/peers/hosts/contender.js')).commands.step()),
        close: () => page.close(),
      };
    },
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}

// The user chooses the files; large ones are not copied.
async function load(page, folder, files, options) {
  await page.evaluate(() => {
    const input = document.createElement('input');
    Object.assign(input, { type: 'file', multiple: true });
    document.body.append(input);
  });
  await page.locator('input').setInputFiles(Object.values(files).map((path) => join(folder, path)));
  return page.evaluate(async (given) => {
    const { commands } = await import('/benches/peers/hosts/contender.js');
    const chosen = [...document.querySelector('input').files];
    return commands.load({ ...given, files: Object.fromEntries(chosen.map((file) => [file.name, file])) });
  }, options);
}
