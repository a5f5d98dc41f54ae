// What only the worker loads.
const ENGINE = ['worker.js', 'subgroups.js', 'store/measurements.js', 'store/transfers.js', 'store/open.js', 'store/blocks.js', 'wordbrush.js', 'wordbrush_bg.wasm'];

// What this visit may not have asked for: another may speak the other language.
const LANGUAGES = ['text/en.js', 'text/de.js'];

// What the browser alone asks for.
const INSTALLED = ['manifest.webmanifest', 'icon.svg', 'icons/192.png', 'icons/512.png', 'icons/maskable.png'];

// Asks the service worker to keep what this page is made of, so that it opens without a network from now on.
export async function keepForOffline(demo) {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register(new URL('../sw.js', import.meta.url));
  const { active } = await navigator.serviceWorker.ready;
  const own = new URL('../', import.meta.url).href;
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.startsWith(own));
  const installed = [...INSTALLED, ...LANGUAGES].map((name) => own + name);
  const engine = ENGINE.map((name) => new URL(`../pkg/${name}`, import.meta.url).href);
  // Who asked the browser to save data gets the pictures' model only when it is used.
  const model = demo && !navigator.connection?.saveData ? demo.urls : [];
  active.postMessage({ keep: [...new Set([own, ...loaded, ...installed, ...engine, ...model])] });
}

// Where the browser offers to install the page, so does the page.
export function offerInstall(button) {
  let offer = null;
  const show = (event) => {
    offer = event;
    button.hidden = event === null;
  };
  window.addEventListener('beforeinstallprompt', (event) => {
    event.preventDefault();
    show(event);
  });
  window.addEventListener('appinstalled', () => show(null));
  button.addEventListener('click', async () => {
    const { outcome } = await offer.prompt();
    if (outcome === 'accepted') show(null);
  });
}
