// Values as A1111's "X/Y/Z plot" takes them: lists with commas; of numbers also 1-5, 1-5 (+2) and 1-10 [5].
// A range ends where it says: A1111 goes one step beyond it where the steps do not meet its end.

import { words } from './language.js';

const MOST = 100;
const NUMBER = String.raw`[+-]?(?:\d+(?:\.\d*)?|\.\d+)`;
const ONE = new RegExp(`^${NUMBER}$`);
const RANGE = new RegExp(`^(${NUMBER})\\s*-\\s*(${NUMBER})(?:\\s*\\(\\s*(${NUMBER})\\s*\\)|\\s*\\[\\s*(\\d+)\\s*\\])?$`);

const decimals = (text) => (text.split('.')[1] ?? '').length;

// Lists of texts as a spreadsheet writes them: "a, b", c
export function textValues(text) {
  const values = [...text.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?:,|$)/g)];
  return limited(values.map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain).filter((value) => value !== ''));
}

export function numberValues(text) {
  return limited(parts(text).flatMap((part) => {
    if (ONE.test(part)) return [Number(part)];
    const [from, to, step, count] = range(part);
    if (count !== undefined) return spread(Number(from), Number(to), count).map((value) => Number(value.toPrecision(6)));
    const places = Math.max(...[from, to, step ?? '1'].map(decimals));
    const [first, last, by] = [Number(from), Number(to), Number(step ?? 1)];
    const length = steps((last - first) / by + 1e-9, part);
    return Array.from({ length }, (_, i) => Number((first + i * by).toFixed(places)));
  }));
}

// Whole numbers of any size, as decimal strings: seeds go up to 2⁶⁴ − 1.
export function wholeValues(text) {
  const whole = (number) => {
    if (decimals(number) > 0) throw new Error(words.series.notWhole(number));
    return BigInt(number.replace(/^\+|\.$/g, ''));
  };
  return limited(parts(text).flatMap((part) => {
    if (ONE.test(part)) return [whole(part)];
    const [from, to, step = '1', count] = range(part);
    const [first, last, by] = [whole(from), whole(to), whole(step)];
    if (count !== undefined) return spread(0, Number(last - first), count).map((value) => first + BigInt(Math.trunc(value)));
    if (by === 0n) throw new Error(words.series.endless(part));
    const length = steps(Number((last - first) / by) + ((last - first) * by < 0n ? -1 : 0), part);
    return Array.from({ length }, (_, i) => first + BigInt(i) * by);
  })).map(String);
}

function parts(text) {
  return text.split(',').map((part) => part.trim()).filter(Boolean);
}

function range(part) {
  const [, from, to, step, count] = RANGE.exec(part) ?? [];
  if (from === undefined) throw new Error(words.series.noRange(part));
  return [from, to, step, count];
}

function steps(last, part) {
  const length = Math.floor(last) + 1;
  if (!Number.isFinite(length)) throw new Error(words.series.endless(part));
  if (length < 1) throw new Error(words.series.noNumber(part));
  return tooMany(length);
}

function spread(first, last, count) {
  const length = tooMany(Number(count));
  if (length === 1) return [first];
  return Array.from({ length }, (_, i) => first + ((last - first) * i) / (length - 1));
}

function tooMany(count) {
  if (count > MOST) throw new Error(words.series.tooManyValues(count, MOST));
  return count;
}

function limited(values) {
  tooMany(values.length);
  return values;
}
