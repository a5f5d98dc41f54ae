// The values of a grid, as people type them into A1111.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numberValues, textValues, wholeValues } from '../../www/text/axis_values.js';

test('numbers: lists, ranges, steps, counts', () => {
  const cases = [
    ['1, 2.5,  -3', [1, 2.5, -3]], ['', []], ['1-5', [1, 2, 3, 4, 5]], ['1-5 (+2)', [1, 3, 5]], ['1 - 6(+2)', [1, 3, 5]],
    ['0.5-1.5 (+0.25)', [0.5, 0.75, 1, 1.25, 1.5]], ['0-1 (+0.1)', [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]],
    ['1-10 [5]', [1, 3.25, 5.5, 7.75, 10]], ['5-1 (-2)', [5, 3, 1]], ['-1-1', [-1, 0, 1]], ['7, 1-2', [7, 1, 2]], ['1-2 [1]', [1]], ['.5', [0.5]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(numberValues(text), expected, text);
});

test('whole numbers keep every digit', () => {
  const cases = [
    ['1-5', ['1', '2', '3', '4', '5']], ['1-6 (+2)', ['1', '3', '5']], ['1-10 [5]', ['1', '3', '5', '7', '10']],
    ['18446744073709551614-18446744073709551615', ['18446744073709551614', '18446744073709551615']],
    ['9007199254740993, -1', ['9007199254740993', '-1']], ['10-8 (-1)', ['10', '9', '8']], ['3-2 (-5)', ['3']],
  ];
  for (const [text, expected] of cases) assert.deepEqual(wholeValues(text), expected, text);
});

test('texts, with quotes where they hold commas', () => {
  assert.deepEqual(textValues('euler, ddim ,lms'), ['euler', 'ddim', 'lms']);
  assert.deepEqual(textValues(' "a, b" , c, "say ""x"""'), ['a, b', 'c', 'say "x"']);
  assert.deepEqual(textValues(''), []);
});

test('what is no value is a sentence', () => {
  for (const [read, text, words] of [
    [numberValues, 'one', /“one” is neither a number nor a range/], [numberValues, '5-1', /holds no number/], [numberValues, '1-2 (+0)', /never ends/],
    [wholeValues, '1.5', /1.5 is no whole number/], [wholeValues, '1-2 (+0)', /never ends/], [wholeValues, '2-1', /holds no number/],
    [numberValues, '1-1000000000000', /at most 100/], [wholeValues, '1-99999999999999999999', /at most 100/], [wholeValues, '1-2 [500]', /at most 100/],
    [textValues, 'x,'.repeat(101), /at most 100/],
  ]) assert.throws(() => read(text), words, text);
});
