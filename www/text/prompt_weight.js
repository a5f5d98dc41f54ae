// Ctrl+Up and Ctrl+Down in a prompt: the weight of what is selected, or of what is at the caret.

// The steps of the two tools.
export const WEIGHT_STEP = Object.freeze({ comfy: 0.05, a1111: 0.1 });
const STRONGEST = 10;
const NUMBER = /^\s*:\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)/;
// A call that the engine has not read yet.
const TYPED_CALL = /embedding:[^\s,:()[\]{}|<>]*[^\s,:()[\]{}|<>.;]/gi;
const BETWEEN_WORDS = /[\s,.;:!?()[\]{}|<>"\\]/;

// What becomes of the prompt: {start, end, written} is the part that changes, [from, to] what is selected then; null where
// there is nothing to weigh. `calls` are the embeddings' as the engine finds them, of this very text.
export function reweigh(text, [from, to], change, calls) {
  const [start, end] = from === to ? atCaret(text, from, calls) : trimmed(text, from, to);
  if (start === end) return null;
  const around = bracketsAround(text, start, end);
  const weight = Math.min(STRONGEST, Math.max(-STRONGEST, Number(((around?.weight ?? 1) + change).toFixed(2))));
  const inner = text.slice(start, end);
  const [first, last] = around ? [around.start, around.end] : [start, end];
  if (weight === 1) return { start: first, end: last, written: inner, selection: [first, first + inner.length] };
  return { start: first, end: last, written: `(${inner}:${weight})`, selection: [first + 1, first + 1 + inner.length] };
}

function trimmed(text, from, to) {
  const selected = text.slice(from, to);
  const start = from + selected.length - selected.trimStart().length;
  return [start, Math.max(start, from + selected.trimEnd().length)];
}

// An embedding's call, else what is in the brackets around the caret, else the word.
function atCaret(text, caret, calls) {
  const typed = [...text.matchAll(TYPED_CALL)].map(({ 0: { length }, index }) => ({ start: index, end: index + length }));
  const call = [...calls, ...typed].find(({ start, end }) => start <= caret && caret <= end);
  if (call) return [call.start, call.end];
  const open = openBracket(text, caret);
  if (open !== null) {
    const close = closeBracket(text, open);
    const end = close === null ? null : open + 1 + text.slice(open + 1, close).replace(/:\s*[+-]?[\d.]+\s*$/, '').length;
    if (end !== null) return trimmed(text, open + 1, end);
  }
  let [start, end] = [caret, caret];
  while (start > 0 && !BETWEEN_WORDS.test(text[start - 1])) start -= 1;
  while (end < text.length && !BETWEEN_WORDS.test(text[end])) end += 1;
  return [start, end];
}

const isBracket = (text, at) => (text[at] === '(' || text[at] === ')') && text[at - 1] !== '\\';

function openBracket(text, caret) {
  for (let at = caret - 1, depth = 0; at >= 0; at -= 1) {
    if (!isBracket(text, at)) continue;
    if (text[at] === ')') depth += 1;
    else if (depth === 0) return at;
    else depth -= 1;
  }
  return null;
}

function closeBracket(text, open) {
  for (let at = open + 1, depth = 0; at < text.length; at += 1) {
    if (!isBracket(text, at)) continue;
    if (text[at] === '(') depth += 1;
    else if (depth === 0) return at;
    else depth -= 1;
  }
  return null;
}

// The brackets directly around a part; without a number they weigh 1.1.
function bracketsAround(text, start, end) {
  const open = text.slice(0, start).trimEnd().length - 1;
  if (open < 0 || text[open] !== '(' || !isBracket(text, open)) return null;
  const after = text.slice(end);
  const number = NUMBER.exec(after);
  if (number) return { start: open, end: end + number[0].length, weight: Number(number[1]) };
  const close = /^\s*\)/.exec(after);
  return close ? { start: open, end: end + close[0].length, weight: 1.1 } : null;
}
