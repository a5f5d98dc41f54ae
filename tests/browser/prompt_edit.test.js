// What is written when calls of embeddings are replaced, taken out, added and weighed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { append, callOf, replaceCalls, replaceGroups, takeOut, wordsOf } from '../../www/text/prompt_edit.js';
import { reweigh } from '../../www/text/prompt_weight.js';

// «…» marks the calls, ‹…› the brackets around them, in a text that is otherwise as it stands.
function marked(text) {
  const calls = [];
  let plain = '';
  for (const sign of text) {
    if (sign === '‹') calls.push({ groupStart: plain.length });
    else if (sign === '«' && calls.at(-1)?.groupEnd === undefined && calls.length && calls.at(-1).start === undefined) calls.at(-1).start = plain.length;
    else if (sign === '«') calls.push({ start: plain.length, groupStart: plain.length, plain: true });
    else if (sign === '»') Object.assign(calls.at(-1), { end: plain.length }, calls.at(-1).plain && { groupEnd: plain.length });
    else if (sign === '›') calls.at(-1).groupEnd = plain.length;
    else plain += sign;
  }
  return [plain, calls];
}

test('a call in both syntaxes, and as plain words', () => {
  assert.equal(callOf('styles/teal-star', 'comfy'), 'embedding:styles/teal-star');
  assert.equal(callOf('teal (2)', 'comfy'), 'embedding:teal \\(2\\)');
  assert.equal(callOf('a[b]', 'a1111'), 'a\\[b\\]');
  assert.equal(wordsOf('styles/teal-star_v2.1'), 'teal star v2 1');
  assert.equal(wordsOf('my (odd) {name}'), 'my odd name');
});

test('replacing calls, with and without their weights', () => {
  const [text, calls] = marked('a ‹(«x»:1.2)› and «x», b');
  assert.equal(replaceCalls(text, calls, () => 'teal star'), 'a (teal star:1.2) and teal star, b');
  assert.equal(replaceGroups(text, calls, () => '(x:0.5)'), 'a (x:0.5) and (x:0.5), b');
});

test('taking a call out leaves no comma and no space over', () => {
  for (const [before, after] of [
    ['a, «x», b', 'a, b'], ['«x», b', 'b'], ['a, «x»', 'a'], ['a «x» b', 'a b'], ['a «x», b', 'a , b'], ['«x»', ''], ['a, ‹(«x»:1.2)›, b', 'a, b'],
    ['a «x»', 'a '], ['a, «x», «x», b', 'a, b'], ['{«x»|b}', '{|b}'], ['a,\n«x»\nb', 'a\nb'],
  ]) assert.equal(takeOut(...marked(before)), after, before);
});

test('adding a call', () => {
  assert.deepEqual([append('', 'x'), append('a cat ', 'x'), append('a cat, ', 'x')], ['x', 'a cat, x', 'a cat, x']);
});

// | is the caret, or two of them the selection.
function pressed(text, change, syntaxCalls = '') {
  const places = [...text.matchAll(/\|/g)].map(({ index }, i) => index - i);
  const plain = text.replaceAll('|', '');
  const calls = syntaxCalls ? [{ start: plain.indexOf(syntaxCalls), end: plain.indexOf(syntaxCalls) + syntaxCalls.length }] : [];
  const made = reweigh(plain, [places[0], places[1] ?? places[0]], change, calls);
  if (!made) return null;
  const edited = plain.slice(0, made.start) + made.written + plain.slice(made.end);
  const [from, to] = made.selection;
  return `${edited.slice(0, from)}|${edited.slice(from, to)}|${edited.slice(to)}`;
}

test('a weight begins at the word, the call or the selection, and goes on from there', () => {
  for (const [before, change, after, call] of [
    ['a re|d cat', 0.1, 'a (|red|:1.1) cat'], ['a (|red|:1.1) cat', 0.1, 'a (|red|:1.2) cat'], ['a (|red|:1.1) cat', -0.1, 'a |red| cat'],
    ['a red|, cat', -0.05, 'a (|red|:0.95), cat'], ['a |red cat | b', 0.05, 'a (|red cat|:1.05)  b'], ['(a red| cat:1.2)', 0.1, '(|a red cat|:1.3)'],
    ['a (re|d) cat', 0.1, 'a (|red|:1.2) cat'], ['\\(re|d\\)', 0.1, '\\((|red|:1.1)\\)'],
    ['a embed|ding:x b', 0.05, 'a (|embedding:x|:1.05) b', 'embedding:x'], ['(embedding:x|:1.05)', -0.05, '|embedding:x|', 'embedding:x'],
    ['a (embedding:x| b:1.2)', 0.05, 'a ((|embedding:x|:1.05) b:1.2)', 'embedding:x'], ['my st|yle b', 0.1, '(|my style|:1.1) b', 'my style'],
    ['a embedding:x/y.z|, b', 0.05, 'a (|embedding:x/y.z|:1.05), b'], ['(embedding:x|:1.05)', 0.05, '(|embedding:x|:1.1)'], ['a embed|ding:x.', 0.05, 'a (|embedding:x|:1.05).'],
    ['(|a|:9.95)', 0.1, '(|a|:10)'], ['(|a|:0.05)', -0.05, '(|a|:0)'], ['(|a|:.3)', 0.1, '(|a|:0.4)'], ['(|a', 0.1, '((|a|:1.1)'],
  ]) assert.equal(pressed(before, change, call), after, before);
  for (const nothing of ['', '|', 'a | b', '| a', ', |,']) if (nothing.includes('|')) assert.equal(pressed(nothing, 0.1), null, nothing);
});
