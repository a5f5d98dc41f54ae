// The page's policy holds: no script but its own, no markup from text, no worker from elsewhere, no request to another origin.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, openPage } from './lib/browser.js';
import { hub } from './lib/hub.js';
import { serve } from './lib/server.js';

let server;
let far;
let browser;

before(async () => {
  far = await hub();
  far.files.set('script.js', { bytes: Buffer.from('globalThis.foreign = true;') });
  server = await serve(new Map([['/elsewhere.js', Buffer.from('postMessage(1);')]]));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
  far?.close();
});

test('what the policy forbids is refused', async () => {
  const { page, problems } = await openPage(browser, `${server.url}/www/`, { serviceWorkers: 'allow' });
  await page.locator('#gpu:not(:empty)').waitFor();
  assert.deepEqual(problems, [], 'the page itself breaks none of it');
  const refused = await page.evaluate(async (far) => {
    const refusal = async (attempt) => {
      try {
        return `done: ${await attempt()}`;
      } catch (error) {
        return error.name;
      }
    };
    const loaded = (element) => new Promise((resolve, reject) => {
      element.onload = () => resolve('loaded');
      element.onerror = () => reject(new Error('blocked'));
      document.body.append(element);
    });
    const script = () => document.createElement('script');
    const attempts = {
      innerHTML: () => { document.createElement('div').innerHTML = '<b>x</b>'; },
      outerHTML: () => { document.querySelector('h1').outerHTML = '<h1>x</h1>'; },
      insertAdjacentHTML: () => document.body.insertAdjacentHTML('beforeend', '<b>x</b>'),
      write: () => document.write('<b>x</b>'),
      DOMParser: () => new DOMParser().parseFromString('<b>x</b>', 'text/html'),
      eval: () => (0, eval)('1 + 1'),
      Function: () => new Function('return 1')(),
      timeout: () => setTimeout('globalThis.late = true', 0),
      scriptText: () => { script().textContent = 'globalThis.inline = true'; },
      scriptAddress: () => { script().src = `${far}/cdn/script.js`; },
      worker: () => new Worker('/elsewhere.js'),
      serviceWorker: () => navigator.serviceWorker.register('/elsewhere.js'),
      policy: () => trustedTypes.createPolicy('another', { createHTML: (text) => text }),
      samePolicy: () => trustedTypes.createPolicy('default', { createHTML: (text) => text }),
      fetch: () => fetch(`${far}/cdn/script.js`),
      image: () => loaded(Object.assign(new Image(), { src: `${far}/cdn/script.js` })),
      frame: () => loaded(Object.assign(document.createElement('iframe'), { src: `${far}/cdn/script.js` })).then(() => document.querySelector('iframe').contentDocument.body),
      form: async () => {
        const form = Object.assign(document.createElement('form'), { action: `${far}/cdn/script.js`, method: 'post' });
        document.body.append(form);
        form.submit();
        await new Promise((resolve) => { setTimeout(resolve, 200); });
        throw new Error('still here');
      },
      style: () => {
        const element = document.createElement('b');
        element.setAttribute('style', 'color: red');
        if (element.style.color !== 'red') throw new Error('blocked');
      },
    };
    // The debugger's own call may evaluate text; what comes after it may not.
    await new Promise((resolve) => { setTimeout(resolve, 0); });
    const refused = {};
    for (const [name, attempt] of Object.entries(attempts)) refused[name] = await refusal(attempt);
    return { ...refused, ran: [globalThis.inline, globalThis.late, globalThis.foreign].filter(Boolean).length };
  }, far.url);
  const { ran, ...attempts } = refused;
  assert.equal(ran, 0);
  for (const [name, outcome] of Object.entries(attempts)) assert.ok(!outcome.startsWith('done'), `${name}: ${outcome}`);
  assert.deepEqual(far.requests, [], 'nothing has reached the other origin');
  await page.close();
});
