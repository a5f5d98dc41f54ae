// axe-core on a page: no serious or critical findings, and nothing wider than the window.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function check(page, state) {
  // By the debugger's way: the page's own policy runs no script but the page's.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: `typeof axe === 'undefined' && (() => { ${AXE} })(); undefined` });
  const { result } = await session.send('Runtime.evaluate', { expression: 'axe.run().then(({ violations, passes }) => JSON.stringify({ violations, passes: passes.length }))', awaitPromise: true });
  await session.detach();
  const { violations, passes } = JSON.parse(result.value);
  assert.ok(passes > 20, `axe looked at little: ${passes} rules passed`);
  const found = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const told = found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any.map(({ message }) => message).join('; ')}`).join(' | ')}`);
  assert.deepEqual(told, [], state);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${state}: ${wide} pixels wider than the window`);
}
