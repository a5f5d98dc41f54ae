// Which names are offered while a prompt is typed, and what they replace.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completions, namePlace } from '../../www/text/completions.js';

// | is the caret.
const place = (text, syntax = 'comfy') => {
  const caret = text.indexOf('|');
  const plain = text.replace('|', '');
  const found = namePlace(plain, caret, syntax);
  return found && [plain.slice(found.start, found.end), found.typed, found.asked];
};

test('what is being typed', () => {
  for (const [text, expected] of [
    ['embedding:|', ['embedding:', '', true]], ['a (Embedding:te|al:1.2)', ['Embedding:teal', 'te', true]], ['a,embedding:x/y-|', ['embedding:x/y-', 'x/y-', true]],
    ['{embedding:a|', ['embedding:a', 'a', true]], ['a teal|', null], ['myembedding:x|', null], ['embedding:x |', null], ['embedding|', null], ['|', null],
  ]) assert.deepEqual(place(text), expected, text);
  for (const [text, expected] of [
    ['a te|al b', ['teal', 'te', false]], ['(tea|:1.2)', ['tea', 'tea', false]], ['a t|', null], ['embedding:te|', ['embedding:te', 'te', true]], ['[a:te|al:0.5]', ['teal', 'te', false]],
  ]) assert.deepEqual(place(text, 'a1111'), expected, text);
});

test('names that begin so come first; the whole name needs no list', () => {
  const of = (typed, ...names) => completions(names.map((name) => ({ name })), typed).map(({ name }) => name);
  assert.deepEqual(of('te', 'a-teal', 'x/teal', 'Teal-star', 'heart', 'teal'), ['Teal-star', 'teal', 'x/teal', 'a-teal']);
  assert.deepEqual(of('teal', 'teal'), []);
  assert.deepEqual(of('teal', 'teal', 'teal-star'), []);
  assert.deepEqual(of('teal-', 'teal', 'teal-star'), ['teal-star']);
  assert.equal(of('', ...Array.from({ length: 20 }, (_, i) => `n${i}`)).length, 8);
  assert.deepEqual(of('.*', 'abc'), []);
});
