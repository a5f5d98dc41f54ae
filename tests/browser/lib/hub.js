// A server of models that behaves as the hub does: links lead by a redirect to an address that expires, which answers ranges and
// shows an ETag to every origin. What goes wrong is written into the file's entry.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

// A safetensors file of one tensor, `size` bytes long, whose bytes are told by the seed.
export function model(size, seed = 1) {
  const data = size - 8 - 128;
  const header = Buffer.from(JSON.stringify({ w: { dtype: 'U8', shape: [data], data_offsets: [0, data] } }).padEnd(128));
  const bytes = Buffer.alloc(size);
  bytes.writeBigUInt64LE(128n);
  header.copy(bytes, 8);
  for (let i = 136, state = seed; i < size; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const CDN = 'cas-bridge.xethub.hf.co';

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

// Files by name: {bytes, etag, ranges, says, pace, holdAt, next}. `pace` are bytes a tick of 10 ms; nothing is sent beyond `holdAt`
// while it is there. `next` are answers that come before the ordinary ones, in turn: {status, retryAfter}, {html}, {hang},
// {cutAfter: bytes}, {silentAfter: bytes}, {says: Content-Length}.
//
// With a `certificate` it stands in for the hub itself, on https, and its links lead to another host, as the hub's do.
export async function hub({ certificate } = {}) {
  const files = new Map();
  const requests = [];
  let down = false;
  const links = []; // {host, path} of those that were asked for
  const server = certificate ? createSecureServer(certificate, serve) : createServer(serve);
  async function serve(request, response) {
    if (down) return request.socket.destroy();
    const url = new URL(request.url, 'http://hub');
    const name = decodeURIComponent(url.pathname.split('/').pop());
    const file = files.get(name);
    const cors = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'ETag, Content-Range, Accept-Ranges, Retry-After' };
    if (request.method === 'OPTIONS') return response.writeHead(403, cors).end(); // as the hub's CDN does
    if (!file) return response.writeHead(404, { ...cors, 'Content-Type': 'text/plain' }).end('Entry not found');
    if (url.pathname.includes('/resolve/')) {
      links.push({ host: request.headers.host, path: url.pathname });
      const to = `${certificate ? `https://${CDN}` : ''}/cdn/${encodeURIComponent(name)}?link=${links.length}`;
      return response.writeHead(302, { ...cors, Location: to, 'Content-Type': 'text/plain' }).end(`Found. Redirecting to ${to}`);
    }
    requests.push({ host: request.headers.host, path: url.pathname, name, range: request.headers.range ?? null, ifRange: request.headers['if-range'] ?? null });
    const fault = file.next?.shift() ?? {};
    if (fault.status) {
      const headers = fault.retryAfter ? { 'Retry-After': fault.retryAfter } : {};
      return response.writeHead(fault.status, { ...cors, ...headers, 'Content-Type': 'text/plain' }).end('no');
    }
    if (fault.hang) return;
    if (fault.html) return response.writeHead(200, { ...cors, 'Content-Type': 'text/html; charset=utf-8' }).end('<!doctype html><title>A page</title>');
    await send(request, response, file, fault, cors);
  }

  async function send(request, response, file, fault, cors) {
    const { bytes, ranges = true } = file;
    const etag = 'etag' in file ? file.etag : `"${sha256(bytes).slice(0, 16)}"`;
    const headers = { ...cors, 'Content-Type': 'application/octet-stream', ...(etag ? { ETag: etag } : {}) };
    const range = ranges && /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const stale = request.headers['if-range'] && request.headers['if-range'] !== etag;
    const start = range && !stale ? Number(range[1]) : 0;
    const says = fault.says ?? file.says ?? bytes.length;
    if (start >= says && says > 0) return response.writeHead(416, { ...headers, 'Content-Range': `bytes */${says}` }).end();
    if (range && !stale) response.writeHead(206, { ...headers, 'Content-Length': says - start, 'Content-Range': `bytes ${start}-${says - 1}/${says}` });
    else response.writeHead(200, { ...headers, 'Content-Length': says });
    response.setMaxListeners(0);
    response.flushHeaders();
    const end = Math.min(bytes.length, start + (fault.cutAfter ?? fault.silentAfter ?? Infinity));
    for (let at = start; at < end && !response.destroyed;) {
      if (at >= (file.holdAt ?? Infinity)) {
        await new Promise((resolve) => { setTimeout(resolve, 10); });
        continue;
      }
      const pace = file.pace ?? Infinity; // may change meanwhile
      const part = bytes.subarray(at, Math.min(end, at + Math.min(pace, 1 << 20)));
      const room = response.write(part);
      at += part.length;
      if (!room) await new Promise((resolve) => { for (const event of ['drain', 'close']) response.once(event, resolve); });
      if (pace !== Infinity) await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    if (fault.silentAfter) return;
    // What was written is on its way before the connection goes.
    if (end < bytes.length || says !== bytes.length) await new Promise((resolve) => { setTimeout(resolve, 30); });
    if (end < bytes.length || says !== bytes.length) response.socket?.destroy();
    else response.end();
  }

  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    port: server.address().port,
    files,
    requests,
    links,
    // The hub's paths, and who answers them, for a server that has it beside its own files.
    beside: ['/owner/', '/cdn/'],
    answer: (request, response) => server.emit('request', request, response),
    link: (name) => `${url}/owner/repository/resolve/main/${encodeURIComponent(name)}`,
    // Ends every connection.
    cut: () => server.closeAllConnections(),
    goDown: () => { down = true; server.closeAllConnections(); },
    comeBack: () => { down = false; },
    close: () => { server.closeAllConnections(); server.close(); },
  };
}
