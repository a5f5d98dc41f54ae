// Where the time of the newest picture went, below everything else; asked for by `?profile`.

import { words } from '../text/language.js';
import { element } from '../ui/dom.js';
import { profileView } from '../ui/profile_view.js';
import { $ } from './state.js';

let shown = null;
const place = element('section', { id: 'profile' });

export function show(rows) {
  shown = rows;
  const title = element('h2', { id: 'profile-title', textContent: words.profile.title });
  place.setAttribute('aria-labelledby', title.id);
  place.replaceChildren(title, element('p', { className: 'quiet', textContent: words.profile.about }), profileView(shown, words.profile));
  if (!place.isConnected) $('newest').closest('main').append(place);
}

document.addEventListener('language', () => shown && show(shown));
