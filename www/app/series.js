// Series of pictures that differ in one thing or two: an embedding compared, its strengths, grids.

import { readRecipe, recipeText, samplers, writeRecipe } from '../pkg/index.js';
import { words } from '../text/language.js';
import { drawSheet } from '../ui/sheet.js';
import { comparison, plan, randomSeed, readAxis } from '../text/grid_plan.js';
import { addToGallery } from './gallery.js';
import { canGenerate, makePicture, optionsOfForm } from './picture.js';
import { enqueue } from './queue.js';
import { recover } from './model.js';
import { $, app, messages } from './state.js';

const STRENGTHS = '0.5-1.5 (+0.25)';
const NOTHING = { type: '', typed: '' };

export const compare = (name) => trying(async () => {
  const request = { title: words.series.withWithoutWords(name), subject: name, x: comparison(name), y: await axis(NOTHING) };
  const made = await planned(request);
  // Where a bare name calls the embedding, words that are its name do too.
  const asWords = made.cells.at(-1).options;
  const used = await Promise.all(['prompt', 'negativePrompt'].map((field) => tokensOf(asWords[field], asWords.promptSyntax)));
  if (used.every((reading) => !reading.used.includes(name))) return begin(request.title, made);
  request.x.values.pop();
  return begin(words.series.withWithout(name), await planned(request), words.series.wordsCallToo);
});

export const sweep = (name) => trying(async () => {
  const title = words.series.strengths(name);
  return begin(title, await planned({ subject: name, x: await axis({ type: 'weight', typed: STRENGTHS }), y: await axis(NOTHING) }));
});

// As <picture-series> asks for it: {subject, x, y}.
export const grid = ({ subject, x, y }) => trying(async () => {
  if (x.type === '' && y.type === '') throw new Error(words.series.chooseAxis);
  if (x.type === y.type) throw new Error(words.series.sameAxes);
  const aboutOne = [x, y].some(({ type }) => ['embedding', 'weight'].includes(type));
  return begin(words.series.grid, await planned({ subject: aboutOne ? subject : null, x: await axis(x), y: await axis(y) }));
});

async function trying(work) {
  messages.clear('series');
  if (!canGenerate()) return;
  try {
    await work();
  } catch (error) {
    messages.show('series', error);
    recover(error);
  }
}

const tokensOf = (prompt, promptSyntax) => app.sd.tokens(prompt, { promptSyntax });

const axis = ({ type, typed }) => readAxis(type, typed, { embedding: embeddingOf, sampler: samplerOf });

function embeddingOf(typed) {
  const folded = typed.toLowerCase().replace(/^embedding:/, '');
  return app.sd.embeddings.find(({ name }) => name.toLowerCase() === folded)?.name ?? null;
}

// By ComfyUI's name or by A1111's, which the reader of recipes knows.
async function samplerOf(typed) {
  const ours = samplers.find((name) => name === typed.toLowerCase());
  if (ours) return ours;
  const { sampler } = await readRecipe(`a\nSteps: 1, Sampler: ${typed}, Seed: 1, CFG scale: 1`);
  return samplers.includes(sampler) ? sampler : null;
}

// No subject ('') stands for the first embedding that the prompts call.
async function planned({ subject, x, y }) {
  const base = { ...optionsOfForm(), batchSize: 1 };
  if (base.seed === '-1') base.seed = randomSeed();
  const readings = await Promise.all([base.prompt, base.negativePrompt].map((prompt) => tokensOf(prompt, base.promptSyntax)));
  const calls = readings.map((reading) => reading.calls);
  const first = calls.flat().find(({ name }) => name !== null)?.name;
  if (subject === '' && !first) throw new Error(words.series.noSubject);
  return plan({ base, calls, subject: subject === '' ? first : subject, x, y });
}

// `note` is told with the result.
function begin(title, made, note = '') {
  const atOnce = app.making === null;
  enqueue(async (signal) => {
    const count = await makeSeries(title, made, signal);
    const all = made.cells.length;
    if (count === 0) $('series').tell(words.series.noPicture);
    else $('series').tell((count < all ? words.series.stopped(count, all) : words.series.made(all)) + note);
  });
  // Who asked sees the pictures come; who waits for others is left where he is.
  if (atOnce) $('series').scrollIntoView({ block: 'nearest' });
}

// Gives how many pictures were made.
async function makeSeries(title, { columns, rows, cells, extra }, signal) {
  const series = $('series');
  series.begin(title, columns, rows);
  const pngs = [];
  const quarter = (count) => Math.floor((4 * count) / cells.length);
  for (const [i, { options }] of cells.entries()) {
    const which = words.series.which(i + 1, cells.length);
    // This is spoken, the progress is not.
    if (i === 0 || quarter(i) > quarter(i - 1)) series.tell(words.series.making(which));
    const result = await makePicture(options, signal, `${which}: `);
    if (!result) break;
    pngs.push(result.png);
    series.put(i, result.png);
  }
  if (pngs.length > 0) {
    const sheet = await sheetOf({ columns, rows, pngs, extra });
    addToGallery(sheet, title);
    series.finish(sheet);
  }
  return pngs.length;
}

// The recipe of the first picture, and what A1111 writes beside it.
async function sheetOf({ columns, rows, pngs, extra }) {
  const pictures = await Promise.all(pngs.map((png) => createImageBitmap(png)));
  const sheet = await drawSheet({ columns, rows, pictures });
  for (const picture of pictures) picture.close();
  const recipe = await readRecipe(pngs[0]);
  return writeRecipe(sheet, { ...recipe, extra: [...recipe.extra ?? [], ...await Promise.all(extra.map(inWordsOfA1111))] });
}

// A1111 knows its own names of samplers only.
async function inWordsOfA1111([key, value], i, extra) {
  if (!key.endsWith(' Values') || extra[i - 1]?.[1] !== 'Sampler') return [key, value];
  const names = await Promise.all(value.split(',').map(async (typed) => {
    const sampler = await samplerOf(typed.trim());
    return /Sampler: ([^,\n]+)/.exec(await recipeText({ sampler, seed: '1', steps: 1 }))[1];
  }));
  return [key, names.join(', ')];
}
