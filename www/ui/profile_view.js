// Where the time of a picture went: a flame graph of plans, what they compute, and with what result; and the same as a table.
// `cargo xtask bench --profile` puts this file into a page of its own.

import { element } from './dom.js';
import { number } from './format.js';

const LEVELS = [(row) => row.plan, (row) => row.class, (row) => `${row.kernel} ${shapeOf(row)}`];
const WIDTH = 1000;
const HEIGHT = 26;
const LETTER = 7; // about as wide as one is

// `say` are the words for it, `rows` what `generate` gives with `profile`.
export function profileView(rows, say) {
  const all = sum(rows);
  return element('div', { className: 'result', tabIndex: 0, role: 'region', ariaLabel: say.table }, flames(rows, all, say), table(rows, all, say));
}

const sum = (rows) => rows.reduce((seconds, row) => seconds + row.seconds, 0);
const shapeOf = ({ shape }) => shape.join('×');
const milliseconds = (seconds) => number(1000 * seconds, 3);
const percent = (part, whole) => number(whole > 0 ? (100 * part) / whole : 0, 1);
// Of something that took no time that could be seen, nothing is known.
const rate = (amount, seconds, unit, places) => (amount && seconds ? number(amount / seconds / unit, places) : '–');

function flames(rows, all, say) {
  const graph = drawn('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT * (LEVELS.length + 1)}`, class: 'flames', role: 'img', 'aria-label': say.graph(milliseconds(all)) });
  const put = (label, seconds, x, level) => {
    const width = all > 0 ? (WIDTH * seconds) / all : 0;
    const box = drawn('svg', { x, y: level * HEIGHT, width, height: HEIGHT });
    const told = `${label}: ${milliseconds(seconds)} ms, ${percent(seconds, all)} %`;
    box.append(
      drawn('title', {}, told),
      drawn('rect', { width: '100%', height: HEIGHT - 1, fill: `hsl(${hue(label)} 65% 72%)`, stroke: '#fff', 'stroke-width': 0.5 }),
    );
    if (width > 4 * LETTER) box.append(drawn('text', { x: 4, y: 17, 'font-size': 12, fill: '#111' }, told));
    graph.append(box);
    return width;
  };
  const spread = (some, x, level) => {
    if (level === LEVELS.length) return;
    for (const [label, part] of groups(some, LEVELS[level])) {
      const width = put(label, sum(part), x, level + 1);
      spread(part, x, level + 1);
      x += width;
    }
  };
  put(say.picture, all, 0, 0);
  spread(rows, 0, 0);
  return graph;
}

// What belongs together, the longest first.
function groups(rows, name) {
  const found = new Map();
  for (const row of rows) found.set(name(row), [...found.get(name(row)) ?? [], row]);
  return [...found].sort(([, a], [, b]) => sum(b) - sum(a));
}

// The same name has the same colour everywhere.
const hue = (label) => [...label].reduce((hash, letter) => (31 * hash + letter.codePointAt(0)) % 360, 7);

function drawn(tag, attributes, text = '') {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(text);
  return made;
}

function table(rows, all, say) {
  const heads = say.columns.map((text) => element('th', { scope: 'col', textContent: text }));
  const lines = rows.toSorted((a, b) => b.seconds - a.seconds).map((row) => {
    const { plan, class: computes, kernel, dispatches, seconds, flops, bytes } = row;
    const numbers = [dispatches, milliseconds(seconds), percent(seconds, all), rate(flops, seconds, 1e9, 1), rate(bytes, seconds, 1e9, 2)];
    const cells = [computes, kernel, shapeOf(row), ...numbers].map((value) => element('td', { textContent: value }));
    return element('tr', {}, element('th', { scope: 'row', textContent: plan }), ...cells);
  });
  return element('table', {}, element('caption', { textContent: say.table }), element('thead', {}, element('tr', {}, ...heads)), element('tbody', {}, ...lines));
}
