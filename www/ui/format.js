// Numbers as people read them, and names that are safe as file names.

// In the language of the page, with so many places behind the point.
export function number(value, places) {
  return value.toLocaleString(globalThis.document?.documentElement.lang || 'en', { useGrouping: false, minimumFractionDigits: places ?? 0, maximumFractionDigits: places ?? 20 });
}

export function bytes(count) {
  if (count < 1024 * 1024) return `${number(count / 1024, 1)} KiB`;
  if (count < 1024 ** 3) return `${number(count / 1024 ** 2, 1)} MiB`;
  return `${number(count / 1024 ** 3, 2)} GiB`;
}

export function duration(seconds) {
  if (seconds < 10) return `${number(seconds, 1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

// Joins sentences, of which some have no full stop and some are missing.
export function sentences(...parts) {
  return parts.filter(Boolean).map((part) => (/[.!?…]$/.test(part) ? part : `${part}.`)).join(' ');
}

export function fileName(text) {
  return text.replace(/[^\w.\- ]/g, '_').replace(/^\.+/, '').slice(0, 120) || 'picture';
}

// The file name of a picture that is called so.
export function pictureName(title) {
  return `wordbrush-${title.replace(/[^\w.]+/g, '-').slice(0, 80).replace(/^-|-$/g, '')}.png`;
}
