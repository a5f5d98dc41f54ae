// Prompts, edited where the engine finds calls of embeddings in them (`calls` of StableDiffusion.tokens).

// A name as the syntax calls it. A bracket in a name would be read as a weight's.
export function callOf(name, syntax) {
  return syntax === 'a1111' ? name.replace(/[()[\]\\]/g, '\\$&') : `embedding:${name.replace(/[()]/g, '\\$&')}`;
}

export function weighted(text, weight) {
  return `(${text}:${weight})`;
}

// An embedding's name as plain words: "styles/teal-star_2" → "teal star 2".
export function wordsOf(name) {
  return name.split('/').pop().replace(/[()[\]{}|\\:]/g, ' ').split(/[\s._-]+/).filter(Boolean).join(' ');
}

// Writes something else where embeddings are called: `written` makes it of the call.
export function replaceCalls(text, calls, written) {
  return edit(text, calls, (call) => [call.start, call.end, written(call)]);
}

// The same with the brackets that hold nothing but the call, and their weight.
export function replaceGroups(text, calls, written) {
  return edit(text, calls, (call) => [call.groupStart, call.groupEnd, written(call)]);
}

// Takes calls out, each with the comma or space that it leaves over.
export function takeOut(text, calls) {
  return edit(text, calls, ({ groupStart, groupEnd }) => [...unit(text, groupStart, groupEnd), '']);
}

function edit(text, calls, place) {
  return calls.toReversed().reduce((edited, call) => {
    const [start, end, written] = place(call);
    return edited.slice(0, start) + written + edited.slice(end);
  }, text);
}

function unit(text, start, end) {
  const [before, after] = [text.slice(0, start), text.slice(end)];
  const commaAfter = /^\s*,[^\S\n]*/.exec(after)?.[0].length;
  if (commaAfter && /(?:^|[,\n])\s*$/.test(before)) return [start, end + commaAfter];
  const commaBefore = /\s*,\s*$/.exec(before)?.[0].length;
  if (commaBefore && /^\s*(?:\n|$)/.test(after)) return [start - commaBefore, end];
  if (/\s$/.test(before)) return [start, end + /^[^\S\n]*/.exec(after)[0].length];
  return [start, end];
}

// Adds a call at the end of a prompt.
export function append(text, call) {
  const before = text.trimEnd();
  if (before === '') return call;
  return /,$/.test(before) ? `${before} ${call}` : `${before}, ${call}`;
}
