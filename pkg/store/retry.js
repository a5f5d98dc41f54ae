// When a download that failed is tried again, and when not.

// Failures in a row, without a byte in between, before it is given up.
export const TRIES = 6;
const FIRST = 500;
const LONGEST = 30_000;
// Who asks for more patience than this is not waited for.
export const PATIENCE = 120_000;

// Timeouts, too many requests, and faults of the server that pass.
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

export const passes = (status) => PASSING.has(status);

// Milliseconds that a Retry-After header asks for: seconds or a date; null where it says nothing that can be read.
export function retryAfter(header, now = Date.now()) {
  if (!header) return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

// Milliseconds before the try after the n-th failure in a row, counted from 1. What many ask for at once must not be asked for
// at once again, so half of it is chance.
export function pause(failures, asked = null, random = Math.random()) {
  const own = Math.min(LONGEST, FIRST * 2 ** (failures - 1));
  return Math.max(asked ?? 0, own * (0.5 + random / 2));
}
