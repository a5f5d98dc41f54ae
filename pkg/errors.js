// Errors with a code for programs, a sentence for people, and sometimes what to do.

const HINTS = new Map([
  ['NO_GPU', howToEnable()],
  ['DEVICE_LOST', 'If it happens again, restart the browser.'],
  ['NUMERIC_NAN', 'Load the model with dtype "f32", or try another checkpoint.'],
  ['INTERNAL', 'Load the model again. This is a fault of Wordbrush: please report it.'],
]);

export class WordbrushError extends Error {
  constructor(code, message, hint = HINTS.get(code)) {
    super(message);
    this.name = 'WordbrushError';
    this.code = code;
    if (hint) this.hint = hint;
  }
}

// Hoisted: HINTS is made of it.
function howToEnable() {
  if (globalThis.isSecureContext === false) return 'Open this page through https: or on localhost.';
  const agent = globalThis.navigator?.userAgent ?? '';
  if (/Firefox\//.test(agent)) {
    return 'To enable it: switch on hardware acceleration in Firefox’s settings and set dom.webgpu.enabled to true on about:config, or use a recent Chrome or Edge.';
  }
  if (/Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent)) {
    return 'To enable it: update to Safari 26 or later, or use a recent Chrome or Edge.';
  }
  if (/Chrom(e|ium)\//.test(agent)) {
    const linux = /Linux|X11/.test(agent) && !/Android/.test(agent) ? ', on Linux also chrome://flags/#enable-vulkan' : '';
    return `To enable it: switch on hardware acceleration under Settings, System, and restart the browser; where that is not enough, enable chrome://flags/#enable-unsafe-webgpu${linux}.`;
  }
  return 'Use a recent Chrome, Edge, Firefox or Safari with hardware acceleration switched on.';
}
