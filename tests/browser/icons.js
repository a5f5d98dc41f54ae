// Makes the icons of the installed page from www/icon.svg: `node icons.js`. The maskable one fills its square, and its sign keeps
// within the circle that systems may cut out.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { launch } from './lib/browser.js';

const WWW = fileURLToPath(new URL('../../www/', import.meta.url));
const svg = readFileSync(`${WWW}icon.svg`, 'utf8');
const filling = svg.replace('rx="7" ', '').replace('<path ', '<path transform="translate(4.8 4.8) scale(.7)" ');
const ICONS = [['192', svg, 192], ['512', svg, 512], ['maskable', filling, 512]];

const browser = await launch({ webgpu: false });
for (const [name, source, size] of ICONS) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>body { margin: 0 } svg { display: block; width: ${size}px }</style>${source}`);
  await page.screenshot({ path: `${WWW}icons/${name}.png`, omitBackground: true });
  await page.close();
}
await browser.close();
