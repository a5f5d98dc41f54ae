// Which pictures a comparison and a grid are made of, and how A1111's words tell it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparison, plan, readAxis } from '../../www/text/grid_plan.js';

const names = ['teal-star', 'heart'];
const find = {
  embedding: (text) => names.find((name) => name === text.toLowerCase()) ?? null,
  sampler: async (text) => (text === 'Euler a' ? 'euler_ancestral' : text === 'ddim' ? text : null),
};
const axis = (type, typed) => readAxis(type, typed, find);
const none = await axis('', '');
const base = (prompt, more = {}) => ({ prompt, negativePrompt: '', promptSyntax: 'comfy', seed: '7', steps: 2, cfg: 2, sampler: 'euler', ...more });
const call = (text, name, written = `embedding:${name}`) => {
  const start = text.indexOf(written);
  const weight = /^:[\d.]+\)/.exec(text.slice(start + written.length))?.[0].length;
  return { start, end: start + written.length, groupStart: weight ? start - 1 : start, groupEnd: start + written.length + (weight ?? 0), name };
};
const prompts = ({ cells }) => cells.map(({ options }) => options.prompt);
const told = ({ extra }) => Object.fromEntries(extra);

test('with, without, as words: the same picture but for the call', async () => {
  const prompt = 'a drawing, (embedding:teal-star:1.2), on white';
  const made = plan({ base: base(prompt), calls: [[call(prompt, 'teal-star')], []], subject: 'teal-star', x: comparison('teal-star'), y: none });
  assert.deepEqual(prompts(made), [prompt, 'a drawing, on white', 'a drawing, (teal star:1.2), on white']);
  assert.deepEqual(made.columns, ['with teal-star', 'without teal-star', 'as words: teal star']);
  assert.ok(made.cells.every(({ options }) => options.seed === '7' && options.steps === 2));
  // A1111 searches the first and writes the others.
  assert.deepEqual(told(made), { Script: 'X/Y/Z plot', 'X Type': 'Prompt S/R', 'X Values': '"(embedding:teal-star:1.2),", "", "(teal star:1.2),"' });
});

test('an embedding that no prompt calls is added; one of the negative prompt is tried there', () => {
  const added = plan({ base: base('a cat'), calls: [[], []], subject: 'heart', x: comparison('heart'), y: none });
  assert.deepEqual(prompts(added), ['a cat, embedding:heart', 'a cat', 'a cat, heart']);
  const a1111 = plan({ base: base('a cat', { promptSyntax: 'a1111' }), calls: [[], []], subject: 'heart', x: comparison('heart'), y: none });
  assert.deepEqual(prompts(a1111), ['a cat, heart', 'a cat', 'a cat, heart']);
  const negativePrompt = 'embedding:heart';
  const negative = plan({ base: base('a cat', { negativePrompt }), calls: [[], [call(negativePrompt, 'heart')]], subject: 'heart', x: comparison('heart'), y: none });
  assert.deepEqual(prompts(negative), ['a cat', 'a cat', 'a cat']);
  assert.deepEqual(negative.cells.map(({ options }) => options.negativePrompt), [negativePrompt, '', 'heart']);
});

test('weights in both syntaxes', async () => {
  const x = await axis('weight', '0.5-1.5 (+0.5)');
  const comfy = plan({ base: base('a embedding:heart b'), calls: [[call('a embedding:heart b', 'heart')], []], subject: 'heart', x, y: none });
  assert.deepEqual(prompts(comfy), ['a (embedding:heart:0.5) b', 'a (embedding:heart:1) b', 'a (embedding:heart:1.5) b']);
  assert.equal(told(comfy)['X Values'], '(embedding:heart:0.5), (embedding:heart:1), (embedding:heart:1.5)');
  const text = 'a (heart:1.2) b';
  const a1111 = plan({ base: base(text, { promptSyntax: 'a1111' }), calls: [[call(text, 'heart', 'heart')], []], subject: 'heart', x, y: none });
  assert.deepEqual(prompts(a1111), ['a (heart:0.5) b', 'a (heart:1) b', 'a (heart:1.5) b']);
});

test('rows and columns of everything', async () => {
  const x = await axis('sampler', 'Euler a, ddim');
  const made = plan({ base: base('a'), calls: [[], []], subject: null, x, y: await axis('seed', '18446744073709551615, 3') });
  assert.deepEqual(made.cells.map(({ options }) => [options.seed, options.sampler]), [
    ['18446744073709551615', 'euler_ancestral'], ['18446744073709551615', 'ddim'], ['3', 'euler_ancestral'], ['3', 'ddim'],
  ]);
  assert.deepEqual([made.columns, made.rows], [['Sampler euler_ancestral', 'Sampler ddim'], ['Seed 18446744073709551615', 'Seed 3']]);
  assert.deepEqual(told(made), {
    Script: 'X/Y/Z plot', 'X Type': 'Sampler', 'X Values': 'Euler a, ddim', 'Y Type': 'Seed', 'Y Values': '18446744073709551615, 3',
  });
  const grid = plan({ base: base('a'), calls: [[], []], subject: null, x: await axis('steps', '1-3'), y: await axis('cfg', '1-2 (+0.5)') });
  assert.deepEqual(grid.cells.map(({ options }) => [options.steps, options.cfg]), [[1, 1], [2, 1], [3, 1], [1, 1.5], [2, 1.5], [3, 1.5], [1, 2], [2, 2], [3, 2]]);
});

test('embeddings against weights: what no search explains has its own name', async () => {
  const prompt = 'a embedding:heart';
  const made = plan({
    base: base(prompt), calls: [[call(prompt, 'heart')], []], subject: 'heart', x: await axis('embedding', 'heart, teal-star'), y: await axis('weight', '1, 2'),
  });
  assert.deepEqual(prompts(made), ['a (embedding:heart:1)', 'a (embedding:teal-star:1)', 'a (embedding:heart:2)', 'a (embedding:teal-star:2)']);
  assert.deepEqual(told(made), {
    Script: 'X/Y/Z plot', 'X Type': 'Embedding', 'X Values': 'heart, teal-star', 'Y Type': 'Weight', 'Y Values': '1, 2',
  });
});

test('a random seed is drawn once', async () => {
  const x = await axis('seed', '5, -1');
  assert.match(x.values[1].pick.seed, /^\d+$/);
  const made = plan({ base: base('a'), calls: [[], []], subject: null, x, y: none });
  assert.equal(told(made)['Fixed X Values'], `5, ${x.values[1].pick.seed}`);
});

test('what cannot be tried is a sentence', async () => {
  await assert.rejects(axis('embedding', 'star'), /There is no embedding “star”/);
  await assert.rejects(axis('sampler', 'Euler'), /There is no sampler “Euler”/);
  await assert.rejects(axis('steps', ' '), /Steps has no values yet: write some, like 10/);
  const many = await axis('seed', '1-20');
  assert.throws(() => plan({ base: base('a'), calls: [[], []], subject: null, x: many, y: many }), /400 pictures; at most 100/);
});
