// The language of the page: the one that was chosen here, else the browser's first that is known, else English.

// Only the one that is spoken is fetched.
const LANGUAGES = { en: () => import('./en.js'), de: () => import('./de.js') };
const KEPT = 'language';
const ATTRIBUTES = ['title', 'aria-label', 'placeholder', 'label'];

// Both change when another language is chosen: "language" is fired at the document then.
export let language = preferred();
export let words = await wordsOf(language);

async function wordsOf(chosen) {
  return (await LANGUAGES[chosen]()).default;
}

function preferred() {
  let kept = null;
  try {
    kept = globalThis.localStorage?.getItem(KEPT);
  } catch {
    // Storage is switched off.
  }
  const wanted = [kept, ...(globalThis.document ? navigator.languages : [])].map((tag) => tag?.split('-')[0].toLowerCase());
  return wanted.find((tag) => Object.hasOwn(LANGUAGES, tag)) ?? 'en';
}

export async function speak(chosen) {
  [words, language] = [await wordsOf(chosen), chosen];
  try {
    localStorage.setItem(KEPT, chosen);
  } catch {
    // Then it holds for this visit.
  }
  fill();
  document.dispatchEvent(new Event('language'));
}

// The page's own text in the language of the page: `data-say` names an element's, `data-say-title` and so on an attribute's.
function fill() {
  document.documentElement.lang = language;
  const look = (name) => name.split('.').reduce((at, key) => at[key], words);
  for (const it of document.querySelectorAll('[data-say]')) write(it, look(it.dataset.say));
  for (const attribute of ATTRIBUTES) {
    for (const it of document.querySelectorAll(`[data-say-${attribute}]`)) it.setAttribute(attribute, look(it.getAttribute(`data-say-${attribute}`)));
  }
}

// A text stands before what else the element has; one with code in it is all there is.
function write(it, text) {
  if (text.includes('`')) {
    const code = (part) => Object.assign(document.createElement('code'), { textContent: part });
    it.replaceChildren(...text.split('`').map((part, i) => (i % 2 ? code(part) : part)));
  } else if (it.childNodes[0]?.nodeType === Node.TEXT_NODE && it.childNodes[0].data.trim()) it.childNodes[0].data = `${text} `;
  else it.prepend(it.childElementCount ? `${text} ` : text);
}

if (globalThis.document) fill();
