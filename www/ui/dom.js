// Elements whose texts may come from files: textContent and properties only.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// What the engine says, which speaks English whatever the page does: a screen reader must not read it as German.
export const english = (tag, text, className = '') => element(tag, { lang: 'en', textContent: text, className });

export function button(text, label, clicked, className = '') {
  const made = element('button', { type: 'button', textContent: text, title: label, className });
  made.setAttribute('aria-label', label);
  made.addEventListener('click', clicked);
  return made;
}

export function saveAs(blob, name) {
  const url = URL.createObjectURL(blob);
  element('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
