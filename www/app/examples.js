// The model that comes with the page, and its examples.

import { defaults } from '../pkg/index.js';
import { usualSettings } from '../ui/prompt_form.js';
import { Demo } from './demo.js';
import { addEmbeddings } from './embeddings.js';
import { loadModel, showLoad } from './model.js';
import { keepForOffline } from './offline.js';
import { generate } from './picture.js';
import { $, app, form, loadProgress, messages } from './state.js';

async function aboutDemo(work) {
  messages.clear('demo');
  try {
    return await work();
  } catch (error) {
    messages.show('demo', error);
    return null;
  } finally {
    if (!app.loading) loadProgress.hide();
  }
}

let underWay = null; // a second click waits for what the first has begun

export const loadDemo = () => {
  underWay ??= aboutDemo(loadDemoModel).finally(() => { underWay = null; });
  return underWay;
};

async function loadDemoModel() {
  const file = await app.demo.modelFile(showLoad);
  if (app.sd && app.source === file) return;
  const shown = app.example;
  await loadModel(file);
  if (!shown) form.fill(app.demo.settings);
  for (const name of shown?.embeddings ?? []) await addDemoEmbedding(name);
}

export const addDemoEmbedding = (name) => aboutDemo(async () => {
  const file = await app.demo.embeddingFile(name);
  if (!app.sd?.embeddings.some((embedding) => embedding.name === name)) await addEmbeddings([file]);
});

export async function playExample({ embeddings, ...settings }) {
  if (app.making || app.loading) return;
  await loadDemo();
  if (!app.sd) return;
  for (const name of embeddings) await addDemoEmbedding(name);
  $('start').forget();
  form.fill({ ...defaults, ...usualSettings, ...app.demo.settings, ...settings });
  await generate();
}

// Makes the picture that the page was opened with, as far as the form still shows it: it brings its model and embeddings.
export async function generateExample() {
  await loadDemo();
  if (app.sd) await generate();
}

// Whether "Generate" means that picture.
export const exampleWaits = () => app.example !== null && !app.sd && !app.loading && form.prompts[0] === app.example.prompt;

export function showDemo() {
  if (app.demo) $('demo').show(app.demo);
}

export async function openDemo() {
  app.demo = await Demo.open();
  showDemo();
  if (app.demo && !app.sd && !app.loading && form.prompts.every((prompt) => prompt === '')) {
    [app.example] = app.demo.examples;
    form.fill({ ...app.demo.settings, ...app.example });
  }
  await keepForOffline(app.demo).catch(() => {}); // Without it the page needs the network, as any page does.
}
