import assert from 'node:assert/strict';
import type { Contract } from '../contract.ts';
import { adapterCase, type MountAdapter } from './adapter-case.ts';
import { ask, openRaw } from './client.ts';
import { chunks, found, scriptedBody } from './scripted-body.ts';

const manifest = Buffer.from('{"schemaVersion":2}'.padEnd(4096));

/** Status, headers, and answers without a body. */
export const headCases: Contract<MountAdapter> = [
  adapterCase('answers with the status, the headers and the bytes that the cache gave', async ({ serve }) => {
    const url = await serve(() => ({ ...found(manifest, { etag: '"sha256:1"' }), status: 203 }));
    const answer = await ask(`${url}/v2/app/manifests/1`);
    assert.equal(answer.status, 203);
    assert.equal(answer.headers.etag, '"sha256:1"');
    assert.equal(answer.headers['content-type'], 'application/vnd.oci.image.manifest.v1+json');
    assert.equal(answer.headers['content-encoding'], undefined);
    assert.equal(answer.headers['content-length'], '4096');
    assert.deepEqual(answer.body, manifest);
  }),

  adapterCase('sends each value of a header with several on a line of its own', async ({ serve }) => {
    const warning = ['299 - "one"', '299 - "two"'];
    const url = await serve(() => found(manifest, { warning }));
    const { rawHeaders } = await ask(`${url}/v2/`);
    const sent = rawHeaders.filter((_, index) => rawHeaders[index - 1]?.toLowerCase() === 'warning');
    assert.deepEqual(sent, warning);
  }),

  adapterCase('answers HEAD with 200 and the Content-Length of the GET', async ({ serve }) => {
    const url = await serve(() => found(null, { 'content-length': '4096' }));
    const answer = await ask(`${url}/v2/app/manifests/1`, { method: 'HEAD' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '4096');
    assert.equal(answer.body.byteLength, 0);
  }),

  adapterCase('closes a body given to a HEAD, unread', async ({ serve }) => {
    const body = chunks('layer');
    const url = await serve(() => found(body, { 'content-length': '5' }));
    const answer = await ask(`${url}/v2/app/blobs/1`, { method: 'HEAD' });
    assert.equal(answer.headers['content-length'], '5');
    await body.closed;
    assert.equal(body.asked, 0);
  }),

  adapterCase('answers 304 with its ETag and without a body', async ({ serve }) => {
    const url = await serve(() => ({ status: 304, headers: { etag: '"sha256:1"' }, body: null }));
    const answer = await ask(`${url}/v2/app/manifests/1`, { headers: { 'if-none-match': '"sha256:1"' } });
    assert.equal(answer.status, 304);
    assert.equal(answer.headers.etag, '"sha256:1"');
    assert.equal(answer.body.byteLength, 0);
  }),

  adapterCase('answers 206 and 416 as the cache gave them', async ({ serve }) => {
    const url = await serve((request) =>
      request.headers.get('range') === 'bytes=1-2'
        ? { ...found(chunks('bc'), { 'content-range': 'bytes 1-2/4', 'content-length': '2' }), status: 206 }
        : { ...found(null, { 'content-range': 'bytes */4' }), status: 416 },
    );
    const part = await ask(`${url}/v2/app/blobs/1`, { headers: { range: 'bytes=1-2' } });
    assert.equal(part.status, 206);
    assert.equal(part.headers['content-range'], 'bytes 1-2/4');
    assert.equal(part.body.toString(), 'bc');
    const none = await ask(`${url}/v2/app/blobs/1`, { headers: { range: 'bytes=9-' } });
    assert.equal(none.status, 416);
    assert.equal(none.headers['content-range'], 'bytes */4');
    assert.equal(none.headers['content-length'], '0');
  }),

  adapterCase('answers an empty body with Content-Length 0', async ({ serve }) => {
    const bodies = [null, new Uint8Array(), scriptedBody(() => undefined)];
    const url = await serve((request) => found(bodies[Number(request.url.at(-1))] ?? null, { 'content-length': '0' }));
    for (const index of bodies.keys()) {
      const answer = await ask(`${url}/v2/${index}`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['content-length'], '0');
      assert.equal(answer.body.byteLength, 0);
    }
  }),

  adapterCase('lets a client that is asked who it is say so on the same connection', async ({ serve }) => {
    const challenges = ['Bearer realm="https://registry.example/token",service="registry"', 'Basic realm="registry"'];
    const body = Buffer.from('{"errors":[{"code":"UNAUTHORIZED"}]}');
    const refusal = { 'www-authenticate': challenges, 'content-length': String(body.byteLength) };
    const url = await serve(({ method, headers }) => {
      const credentials = headers.get('authorization');
      if (credentials !== null) return found(chunks(credentials), { 'content-length': String(credentials.length) });
      return { status: 401, headers: refusal, body: method === 'HEAD' ? null : body };
    });
    const { socket, received } = await openRaw(url);
    for (const method of ['HEAD', 'GET']) {
      socket.write(`${method} /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n`);
      const text = await received(method === 'HEAD' ? /\r\n\r\n$/ : /UNAUTHORIZED"\}\]\}$/);
      const asked = text.split('\r\n').filter((line) => /^www-authenticate:/i.test(line));
      // RFC 9110 5.3: lines of their own, or one list.
      const values = asked.map((line) => line.slice('www-authenticate: '.length)).join(', ');
      assert.ok(values.endsWith(challenges.join(', ')), values);
    }
    socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\nAuthorization: Basic YW5uOnB3\r\n\r\n');
    await received(/Basic YW5uOnB3$/);
    socket.destroy();
  }),

  adapterCase('keeps the connection open after HEAD, 304 and an empty body', async ({ serve }) => {
    const url = await serve(({ method, url: path }) => {
      if (method === 'HEAD') return found(null, { 'content-length': '4096' });
      if (path === '/v2/304') return { status: 304, headers: { etag: '"1"' }, body: null };
      return found(path === '/v2/last' ? chunks('la', 'st') : chunks(), {
        'content-length': path === '/v2/last' ? '4' : '0',
      });
    });
    const { socket, received } = await openRaw(url);
    for (const [index, line] of ['HEAD /v2/1', 'GET /v2/304', 'GET /v2/0', 'GET /v2/last'].entries()) {
      socket.write(`${line} HTTP/1.1\r\nHost: registry\r\n\r\n`);
      await received(new RegExp(`(?:HTTP.1.1 .*?\r\n\r\n){${index + 1}}`, 's'));
    }
    const all = await received(/last$/);
    assert.deepEqual(all.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 304', 'HTTP/1.1 200', 'HTTP/1.1 200']);
    socket.destroy();
  }),
];
