// Pictures side by side on one sheet, with their labels.

const GAP = 8;
const LONGEST_SIDE = 16384; // Browsers make no larger canvas.
const LINE = 1.3;

// `pictures` go row by row, as bitmaps of one size; the last may be missing. Gives a PNG.
export function drawSheet({ columns, rows, pictures }) {
  const { width, height } = pictures[0];
  const font = Math.max(12, Math.min(28, Math.round(width / 14)));
  const measure = new OffscreenCanvas(1, 1).getContext('2d');
  const setFont = (context) => { context.font = `${font}px system-ui, sans-serif`; };
  setFont(measure);
  const heads = columns.map((label) => wrapped(measure, label, width));
  const sides = rows.map((label) => wrapped(measure, label, Math.max(width, 12 * font)));
  const sideWidth = Math.ceil(Math.max(0, ...sides.flat().map((line) => measure.measureText(line).width)));
  const headHeight = Math.ceil(Math.max(...heads.map((lines) => lines.length)) * font * LINE);
  const left = sideWidth ? sideWidth + 2 * GAP : GAP;
  const top = headHeight ? headHeight + 2 * GAP : GAP;
  const size = [left + columns.length * (width + GAP), top + rows.length * (height + GAP)];

  const scale = Math.min(1, LONGEST_SIDE / Math.max(...size));
  const canvas = new OffscreenCanvas(...size.map((side) => Math.round(side * scale)));
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.fillStyle = 'white';
  context.fillRect(0, 0, ...size);
  context.fillStyle = '#1d1b26';
  setFont(context);
  context.textBaseline = 'middle';
  const write = (lines, x, middle) => lines.forEach((line, i) => context.fillText(line, x, middle + (i - (lines.length - 1) / 2) * font * LINE));
  const at = (i, j) => [left + i * (width + GAP), top + j * (height + GAP)];
  context.textAlign = 'center';
  heads.forEach((lines, i) => write(lines, at(i, 0)[0] + width / 2, top / 2));
  context.textAlign = 'right';
  sides.forEach((lines, j) => write(lines, left - GAP, at(0, j)[1] + height / 2));
  pictures.forEach((picture, i) => context.drawImage(picture, ...at(i % columns.length, Math.floor(i / columns.length))));
  return canvas.convertToBlob({ type: 'image/png' });
}

// A label in lines of some width, at most four; what is longer than a line is cut anywhere.
function wrapped(context, label, width) {
  const fits = (text) => context.measureText(text).width <= width;
  const lines = [];
  let line = '';
  for (const word of label.split(/\s+/).filter(Boolean)) {
    let rest = line ? `${line} ${word}` : word;
    if (line && !fits(rest)) {
      lines.push(line);
      rest = word;
    }
    while (!fits(rest) && rest.length > 1) {
      let end = rest.length - 1;
      while (end > 1 && !fits(rest.slice(0, end))) end -= 1;
      lines.push(rest.slice(0, end));
      rest = rest.slice(end);
    }
    line = rest;
  }
  if (line) lines.push(line);
  return lines.length > 4 ? [...lines.slice(0, 3), `${lines[3].slice(0, -1)}…`] : lines;
}
