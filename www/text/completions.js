// Names of embeddings, completed while they are typed.

const MOST = 8;
const SHORTEST_BARE = 2;
const NAME = String.raw`[^\s,()[\]{}|<>:"]`;
const ASKED = new RegExp(String.raw`(?:^|[\s,([{|<])(embedding:(${NAME}*))$`, 'i');
const BARE = new RegExp(String.raw`(?:^|[\s,([{|:])((${NAME}+))$`);
const REST = new RegExp(`^${NAME}*`);

// What is being typed at the caret that may be a name: {start, end, typed, asked}, or null. `asked` after `embedding:`, which
// only means a name; in A1111's syntax any word may be one.
export function namePlace(text, caret, syntax) {
  const before = text.slice(0, caret);
  const asked = ASKED.exec(before);
  const found = asked ?? (syntax === 'a1111' ? BARE.exec(before) : null);
  if (!found || (!asked && found[2].length < SHORTEST_BARE)) return null;
  return { start: caret - found[1].length, end: caret + REST.exec(text.slice(caret))[0].length, typed: found[2], asked: asked !== null };
}

// The names that fit, those that begin with what is typed first; none where a whole name is typed.
export function completions(embeddings, typed) {
  if (embeddings.some(({ name }) => name === typed)) return [];
  const folded = typed.toLowerCase();
  const rank = ({ name }) => {
    const known = name.toLowerCase();
    if (known.startsWith(folded)) return 0;
    if (known.split('/').pop().startsWith(folded)) return 1;
    return known.includes(folded) ? 2 : 3;
  };
  const found = embeddings.map((embedding) => ({ embedding, rank: rank(embedding) })).filter(({ rank }) => rank < 3);
  return found.sort((a, b) => a.rank - b.rank).slice(0, MOST).map(({ embedding }) => embedding);
}
