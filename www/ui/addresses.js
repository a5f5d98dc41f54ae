// Addresses of models: those that many look for, and what people paste.

import { words } from '../text/language.js';

const HUB = 'https://huggingface.co';

// The files of the workflow that the page's settings come from.
export const KNOWN = [
  {
    title: () => 'Stable Diffusion 1.5',
    kind: 'model',
    url: `${HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors`,
  },
  {
    title: () => words.shelf.vaeOf15,
    kind: 'vae',
    url: `${HUB}/stabilityai/sd-vae-ft-mse-original/resolve/main/vae-ft-mse-840000-ema-pruned.safetensors`,
  },
];

export const looksLikeAddress = (text) => /^https?:\/\/\S+$/.test(text.trim());

// {url, name} of what was pasted; throws a sentence where that is no address of a file. `own` is the page's own origin.
export function readAddress(text, own) {
  const pasted = text.trim();
  let url;
  try {
    url = new URL(/^[\w-]+(\.[\w-]+)+\//.test(pasted) ? `https://${pasted}` : pasted);
  } catch {
    throw new Error(pasted ? words.shelf.noAddress(pasted) : words.shelf.pasteFirst);
  }
  if (url.protocol !== 'https:' && url.origin !== own) throw new Error(words.shelf.notSecure(url.href));
  url.hash = '';
  if (url.hostname === 'hf.co') url.hostname = 'huggingface.co';
  if (url.hostname === 'huggingface.co') {
    // The page about a file has the file beside it.
    url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, '$1/resolve/');
    if (!/^\/[^/]+\/[^/]+\/resolve\/[^/]+\/./.test(url.pathname)) {
      throw new Error(words.shelf.hubPage(url.href));
    }
  }
  const last = url.pathname.split('/').pop();
  let name = last;
  try {
    name = decodeURIComponent(last);
  } catch {
    // It stays as it is.
  }
  return { url: url.href, name: name || 'model.safetensors' };
}
