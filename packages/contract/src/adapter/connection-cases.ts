import assert from 'node:assert/strict';
import type { HttpResponse } from '@proxycache/core';
import type { Contract } from '../contract.ts';
import { adapterCase, type MountAdapter } from './adapter-case.ts';
import { openRaw } from './client.ts';
import { chunks, found, signal } from './scripted-body.ts';

const denied: HttpResponse = {
  status: 403,
  headers: { 'content-type': 'application/json', 'cache-control': 'no-store, no-transform' },
  body: Buffer.from('{"errors":[{"code":"DENIED","message":"push to the upstream registry"}]}'),
};

/** What goes over a connection besides one request and its answer. */
export const connectionCases: Contract<MountAdapter> = [
  adapterCase('answers pipelined requests in their order', async ({ serve }) => {
    const third = signal();
    const url = await serve(async ({ url: path }) => {
      if (path === '/v2/1') await third.fired;
      if (path === '/v2/3') third.fire();
      return found(chunks(`<${path}`, '>'));
    });
    const { socket, received } = await openRaw(url);
    socket.write(['/v2/1', '/v2/2', '/v2/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: registry\r\n\r\n`).join(''));
    const all = await received(/<\/v2\/3/);
    assert.deepEqual(all.match(/<\/v2\/\d/g), ['</v2/1', '</v2/2', '</v2/3']);
    socket.destroy();
  }),

  adapterCase('refuses a push at once, reads little of it, and closes the connection', async ({ serve }) => {
    const url = await serve(() => denied);
    for (const transfer of ['Content-Length: 8589934592', 'Transfer-Encoding: chunked']) {
      const { socket, received, ended } = await openRaw(url);
      socket.write(`PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: registry\r\n${transfer}\r\n\r\n`);
      const part = Buffer.alloc(65_536);
      const send = () => {
        const chunk = transfer.startsWith('T') ? [`${part.byteLength.toString(16)}\r\n`, part, '\r\n'] : [part];
        while (!socket.destroyed && chunk.map((piece) => socket.write(piece)).every(Boolean));
      };
      socket.on('drain', send);
      send();
      const answer = await received(/push to the upstream registry/);
      assert.match(answer, /^HTTP\/1\.1 403 /);
      assert.match(answer, /\r\nconnection: close\r\n/i);
      await ended;
      // The kernel's buffers take some MiB by themselves.
      assert.ok(socket.bytesWritten < 64 * 1024 * 1024, `${socket.bytesWritten} bytes of a refused push were taken`);
    }
  }),

  adapterCase('lets a client that is still sending have the refusal whole', async ({ serve }) => {
    const url = await serve(() => denied);
    const { socket, received, ended } = await openRaw(url);
    socket.write(`PUT /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: registry\r\nContent-Length: 8589934592\r\n\r\n`);
    socket.write(Buffer.alloc(300_000));
    await received(/push to the upstream registry/);
    // Still sending when the refusal comes is no reason for a reset, which could take the refusal with it.
    socket.end(Buffer.alloc(300_000));
    assert.equal(await ended, 'end');
  }),

  adapterCase('keeps the connection of a push with a small body', async ({ serve }) => {
    const url = await serve(() => denied);
    const { socket, received } = await openRaw(url);
    const put = 'PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: registry\r\nContent-Length: 9\r\n\r\n{"a":"b"}';
    socket.write(put);
    await received(/upstream registry/);
    socket.write(put);
    await received(/upstream registry[\s\S]*upstream registry/);
    socket.destroy();
  }),

  adapterCase('answers a client that waits for 100 Continue before it sends a body', async ({ serve }) => {
    const url = await serve(() => denied);
    const { socket, received } = await openRaw(url);
    const expect = 'Content-Length: 1000000\r\nExpect: 100-continue';
    socket.write(`PUT /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: registry\r\n${expect}\r\n\r\n`);
    assert.match(
      await received(/push to the upstream registry/),
      /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.1 403 /,
    );
    socket.destroy();
  }),

  // Clients try TLS first where they are allowed plain http, and wait for it to be turned down.
  adapterCase('closes at once what begins with a TLS ClientHello', async ({ serve }) => {
    const url = await serve(() => found(chunks('never')));
    const { socket, ended } = await openRaw(url);
    const hello = Buffer.concat([Buffer.from('16030100c8010000c40303', 'hex'), Buffer.alloc(194, 7)]);
    socket.write(hello);
    await ended;
  }),
];
