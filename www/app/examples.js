// The model that comes with the page, and its examples.

import { defaults } from '../pkg/index.js';
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

export const loadDemo = () => aboutDemo(async () => {
  const file = await app.demo.modelFile(showLoad);
  if (app.sd && app.source === file) return;
  await loadModel(file);
  form.fill(app.demo.settings);
});

export const addDemoEmbedding = (name) => aboutDemo(async () => {
  const file = await app.demo.embeddingFile(name);
  if (!app.sd?.embeddings.some((embedding) => embedding.name === name)) await addEmbeddings([file]);
});

export async function playExample({ embeddings, ...settings }) {
  if (app.making || app.loading) return;
  await loadDemo();
  if (!app.sd) return;
  for (const name of embeddings) await addDemoEmbedding(name);
  form.fill({ ...defaults, ...app.demo.settings, ...settings });
  await generate();
}

export async function openDemo() {
  app.demo = await Demo.open();
  if (app.demo) $('demo').show(app.demo);
  await keepForOffline(app.demo).catch(() => {}); // Without it the page needs the network, as any page does.
}
