import assert from 'node:assert/strict';
import { type HttpRequest, isProxyCacheError } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { adapterCase, hostAnswer, type MountAdapter } from './adapter-case.ts';
import { ask, openRaw } from './client.ts';
import { chunks, found } from './scripted-body.ts';

// What the host answers, it may compress.
const asIs = { headers: { 'accept-encoding': 'identity' } };

/** What the cache is told of a request, and what it is not asked. */
export const requestCases: Contract<MountAdapter> = [
  adapterCase(
    'hands over the method, the path and the query as they came, at the root and at a prefix',
    async (bench) => {
      const target = '/v2/a%2Fb/%7Eapp/../manifests/v1%20?ns=localhost%3A5000&q=a+b%20c';
      for (const prefix of ['', '/pfx', '/deep/er%2Fprefix']) {
        const seen: HttpRequest[] = [];
        const url = await bench.serveAt(prefix, async (request) => {
          seen.push(request);
          return found(chunks('ours'));
        });
        const { socket, received } = await openRaw(url);
        socket.write(`OPTIONS ${prefix}${target} HTTP/1.1\r\nHost: registry\r\n\r\n`);
        await received(/ours/);
        socket.destroy();
        assert.deepEqual(
          seen.map(({ method, url: path, basePath }) => [method, path, basePath]),
          [['OPTIONS', target, prefix]],
        );
      }
    },
  ),

  // RFC 9112 3.2.2: a server accepts the absolute form in requests, even though most clients send it only to proxies.
  adapterCase('hands over the path of a target in absolute form, at the root and at a prefix', async (bench) => {
    for (const prefix of ['', '/pfx', '/deep/er%2Fprefix']) {
      const url = await bench.serveAt(prefix, async (request) =>
        found(chunks(`basePath ${request.basePath}, url ${request.url};`)),
      );
      const { socket, received } = await openRaw(url);
      const target = '/v2/a%2Fb/tags/list?n=1';
      socket.write(`GET http://registry:5000${prefix}${target} HTTP/1.1\r\nHost: registry:5000\r\n\r\n`);
      const answer = await received(/url .*;|the host answers/);
      socket.destroy();
      assert.equal(/basePath .*/.exec(answer)?.[0], `basePath ${prefix}, url ${target};`);
    }
  }),

  adapterCase('hands over headers by their lowercase names', async ({ serve }) => {
    const url = await serve(({ headers }) =>
      found(chunks(JSON.stringify([headers.get('accept'), headers.get('range'), headers.get('authorization')]))),
    );
    const { socket, received } = await openRaw(url);
    socket.write('GET /v2/ HTTP/1.1\r\nHost: registry\r\nACCEPT: a/b;q=0.5\r\nAccept: c/d\r\nRange: bytes=0-1\r\n\r\n');
    await received(/\["a\/b;q=0\.5, c\/d","bytes=0-1",null\]/);
    socket.destroy();
  }),

  adapterCase('leaves what the cache does not answer to the host, its URL untouched', async (bench) => {
    for (const prefix of ['', '/pfx']) {
      const url = await bench.serveAt(prefix, async () => undefined);
      for (const path of ['/', '/v1/_ping', '/other?x=%2F']) {
        const { status, body } = await ask(url + path, asIs);
        assert.equal(status, 200);
        assert.equal(body.toString(), hostAnswer(prefix + path));
      }
    }
  }),

  adapterCase('does not ask the cache about paths beside its prefix', async ({ serveAt }) => {
    const url = await serveAt('/pfx', async ({ url: path }) => found(chunks(path)));
    for (const path of ['/v2/', '/pfxx/v2/']) {
      const { body } = await ask(new URL(path, url).href, asIs);
      assert.equal(body.toString(), hostAnswer(path));
    }
  }),

  adapterCase('reads the body of a request up to the limit the cache sets', async ({ serve }) => {
    const url = await serve(async (request) => found(await request.body(8)));
    const headers = { 'content-type': 'application/octet-stream' };
    const { body } = await ask(`${url}/v2/`, { method: 'POST', headers, body: Buffer.from([0, 1, 2, 255]) });
    assert.deepEqual([...body], [0, 1, 2, 255]);
  }),

  adapterCase('rejects a body over the limit, and the cache can still answer', async ({ serve }) => {
    const url = await serve((request) =>
      request.body(8).then(
        () => found(chunks('taken')),
        (error: unknown) => ({ ...found(chunks(isProxyCacheError(error) ? error.code : String(error))), status: 413 }),
      ),
    );
    for (const transfer of [
      'content-length: 9\r\n\r\n123456789',
      'transfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n',
    ]) {
      const { socket, received } = await openRaw(url);
      socket.write(`POST /v2/ HTTP/1.1\r\nHost: registry\r\nContent-Type: application/octet-stream\r\n${transfer}`);
      assert.match(await received(/body-too-large/), /^HTTP\/1\.1 413 /);
      socket.destroy();
    }
  }),
];
