// The whole window takes drops.

import { droppedFiles } from './files.js';

export function takeDrops(hint, taken) {
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  let depth = 0; // dragenter and dragleave also come for every element under the pointer
  const show = (visible) => {
    hint.hidden = !visible;
    document.body.classList.toggle('dropping', visible);
  };
  window.addEventListener('dragenter', (event) => {
    if (hasFiles(event)) show(++depth > 0);
  });
  window.addEventListener('dragleave', (event) => {
    if (hasFiles(event)) show(--depth > 0);
  });
  window.addEventListener('dragover', (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  window.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    taken(droppedFiles(event.dataTransfer));
  });
}
