// A static server for the repository and for files that tests make up; it answers ranges, as model hosts do.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MIME = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mjs': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.wasm': 'application/wasm', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json',
};

export const DEMO = '/www/demo/index.json';

// `made` maps URL paths to the bytes, or to the path of the file, that is served there instead of the repository's; `answer` takes
// the requests for paths that begin with one of `beside`. The page is at `at`, and is not told so.
export async function serve(made = new Map(), { beside = [], answer, at = '/www/' } = {}) {
  // Pages open without the built-in model, but for those of the tests that are about it.
  if (!made.has(DEMO)) made.set(DEMO, Buffer.from('null'));
  const requests = [];
  let down = false;
  const server = createServer(async (request, response) => {
    if (down) return request.socket.destroy();
    const asked = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const inPage = asked.startsWith(at) ? `/www/${asked.slice(at.length)}` : asked;
    const path = inPage.replace(/^\/www\/pkg\//, '/pkg/'); // www/pkg is a link
    requests.push(path);
    if (beside.some((prefix) => path.startsWith(prefix))) return answer(request, response);
    const file = path.endsWith('/') ? `${path}index.html` : path;
    const found = made.get(path) ?? join(ROOT, file);
    const bytes = typeof found === 'string' ? await readFile(found).catch(() => null) : found;
    if (bytes === null) return response.writeHead(404).end('not found');
    const headers = { 'Content-Type': MIME[extname(file)] ?? 'application/octet-stream', 'Accept-Ranges': 'bytes' };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (!range) return response.writeHead(200, { ...headers, 'Content-Length': bytes.length }).end(bytes);
    const [start, end] = [Number(range[1]), Math.min(range[2] === '' ? Infinity : Number(range[2]) + 1, bytes.length)];
    if (start >= bytes.length) return response.writeHead(416, { 'Content-Range': `bytes */${bytes.length}` }).end();
    response.writeHead(206, { ...headers, 'Content-Length': end - start, 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(start, end));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    made,
    requests,
    // From now on every request fails, as without a network.
    goDown: () => { down = true; server.closeAllConnections(); },
    comeBack: () => { down = false; },
    close: () => { server.closeAllConnections(); server.close(); },
  };
}

// An empty page on the same origin, for tests of the JavaScript API alone.
export const BLANK = ['/blank.html', Buffer.from('<!doctype html><title>blank</title><link rel="icon" href="data:,">')];
