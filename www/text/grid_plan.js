// Which pictures a comparison or a grid is made of: rows and columns, the options of each picture, and what A1111 calls it all.

import { numberValues, textValues, wholeValues } from './axis_values.js';
import { words } from './language.js';
import { append, callOf, replaceCalls, replaceGroups, takeOut, weighted, wordsOf } from './prompt_edit.js';

export const MOST_PICTURES = 100;

// In the language of the page.
export const axisTitle = (type) => words.series[type] ?? words.form[type];
export const axisExample = (type) => AXES.get(type)?.example ?? words.series.embeddingExample;

// What can be tried: A1111's name for it, how its values are read, and an example.
export const AXES = new Map(Object.entries({
  embedding: { own: 'Embedding', read: textValues },
  weight: { own: 'Weight', read: numberValues, example: '0.5-1.5 (+0.25)' },
  seed: { a1111: 'Seed', read: wholeValues, example: '1-4' },
  steps: { a1111: 'Steps', read: (text) => wholeValues(text).map(Number), example: '10, 20-40 [3]' },
  cfg: { a1111: 'CFG Scale', read: numberValues, example: '2-8 (+2)' },
  sampler: { a1111: 'Sampler', read: textValues, example: 'euler, dpmpp_2m' },
}));

// An axis as it was typed. `find` looks up what is named: {embedding, sampler}, each name → its own name, or null.
export async function readAxis(type, typed, find) {
  if (type === '') return { type, values: [{ label: '', pick: {} }] };
  const title = axisTitle(type);
  const values = [];
  for (const value of AXES.get(type).read(typed)) {
    const known = find[type] ? await find[type](value) : type === 'seed' && value === '-1' ? randomSeed() : value;
    if (known === null) throw new Error(words.series.noSuch(title, value));
    values.push({ label: `${title} ${known}`, pick: { [type]: known } });
  }
  if (values.length === 0) throw new Error(words.series.noValues(title, axisExample(type)));
  return { type, typed, values };
}

export function randomSeed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

export function comparison(name) {
  const values = [
    { label: words.series.with(name), pick: {} },
    { label: words.series.without(name), pick: { without: true } },
    { label: words.series.asWords(wordsOf(name)), pick: { words: true } },
  ];
  return { type: 'embedding', typed: 'with, without, as words', values };
}

// `base` are the options of a picture, `calls` those of its prompt and negative prompt, `subject` the embedding that is tried:
// where neither prompt calls it, the prompt is made to.
export function plan({ base, calls, subject, x, y }) {
  const count = x.values.length * y.values.length;
  if (count > MOST_PICTURES) throw new Error(words.series.tooManyPictures(count, MOST_PICTURES));
  const start = withSubject(base, calls, subject);
  const cells = y.values.flatMap((row) => x.values.map((column) => ({ options: optionsOf(start, subject, { ...row.pick, ...column.pick }) })));
  const labels = (axis) => axis.values.map(({ label }) => label);
  return { columns: labels(x), rows: labels(y), cells, extra: script(start, subject, x, y, cells) };
}

function withSubject(base, calls, subject) {
  const own = calls.map((calls) => calls.filter(({ name }) => name === subject));
  if (subject === null || own.flat().length > 0) return { base, own };
  const call = callOf(subject, base.promptSyntax);
  const prompt = append(base.prompt, call);
  const [start, end] = [prompt.length - call.length, prompt.length];
  return { base: { ...base, prompt }, own: [[{ start, end, groupStart: start, groupEnd: end, name: subject }], []] };
}

function optionsOf({ base, own }, subject, { embedding, weight, without, words: asWords, ...others }) {
  const edited = (text, calls) => {
    if (without) return takeOut(text, calls);
    if (asWords) return replaceCalls(text, calls, () => wordsOf(subject));
    const call = callOf(embedding ?? subject ?? '', base.promptSyntax);
    if (weight !== undefined) return replaceGroups(text, calls, () => weighted(call, weight));
    return embedding === undefined ? text : replaceCalls(text, calls, () => call);
  };
  return { ...base, ...others, prompt: edited(base.prompt, own[0]), negativePrompt: edited(base.negativePrompt, own[1]) };
}

// The grid as A1111 writes it. It knows embeddings and weights as "Prompt S/R", which searches the first value and writes the
// others in its place; where that would not make the same prompts, the axis has its own name.
function script(start, subject, x, y, cells) {
  const [columns, rows] = [x, y].map((axis) => searches(start, subject, axis));
  const texts = cells.map(({ options }) => [options.prompt, options.negativePrompt].map((text) => text.replace(/\s+/g, ' ').trim()));
  const pairs = columns.flatMap((column) => rows.map((row) => [column, row]));
  const explains = ([column, row]) => texts.every((text, i) => {
    const [c, r] = [i % x.values.length, Math.floor(i / x.values.length)];
    return text.every((made, j) => searched(searched(texts[0][j], column, c), row, r).replace(/\s+/g, ' ').trim() === made);
  });
  const [column, row] = pairs.find(explains) ?? [null, null];
  return [['Script', 'X/Y/Z plot'], ...keys('X', x, column), ...keys('Y', y, row)];
}

function searched(text, terms, i) {
  return terms === null ? text : text.replaceAll(terms[0], terms[i]);
}

// Lists of terms that may explain an axis; [null] for one that needs none.
function searches({ base, own }, subject, { type, values }) {
  if (!['embedding', 'weight'].includes(type)) return [null];
  const [text, { start, end, groupStart, groupEnd }] = own[0].length ? [base.prompt, own[0][0]] : [base.negativePrompt, own[1][0]];
  const group = text.slice(groupStart, groupEnd);
  const call = (name) => callOf(name, base.promptSyntax);
  const written = ({ pick }) => {
    if (pick.without) return '';
    if (pick.words) return group.replace(text.slice(start, end), () => wordsOf(subject));
    if (pick.weight !== undefined) return weighted(call(subject), pick.weight);
    return pick.embedding === undefined ? group : call(pick.embedding);
  };
  const terms = values.map(written);
  // Taking a call out takes a comma with it.
  const around = (before, after) => terms.map((term) => (term === '' ? '' : before + term + after));
  return [terms, around('', ','), around(', ', '')];
}

function keys(letter, axis, terms) {
  if (axis.type === '') return [];
  const { a1111, own } = AXES.get(axis.type);
  if (terms) return [[`${letter} Type`, 'Prompt S/R'], [`${letter} Values`, terms.map(quoted).join(', ')]];
  const fixed = axis.type === 'seed' && /(?:^|,)\s*-1\s*(?:,|$)/.test(axis.typed) ? [[`Fixed ${letter} Values`, axis.values.map(({ pick }) => pick.seed).join(', ')]] : [];
  return [[`${letter} Type`, a1111 ?? own], [`${letter} Values`, axis.typed], ...fixed];
}

function quoted(value) {
  return /^$|[",]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
