import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { createProxyCache, type HttpResponse, memoryStorage } from '@proxycache/core';
import { selfSigned, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createNodeHandler } from './node-handler.ts';

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const bodyOf = (size: number) => Buffer.alloc(size, everyByte);
const sizeOf = (url: string) => Number(url.slice('/v2/'.length));

const handler = createNodeHandler({
  handle: async ({ url }) => ({ status: 200, headers: {}, body: bodyOf(sizeOf(url)) }),
});

async function listen(server: Server): Promise<number> {
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What comes for requests that are all sent at once, the last of which ends the connection. */
async function received(socket: Socket, paths: readonly (number | string)[]): Promise<Buffer> {
  const request = (path: number | string, last: boolean) =>
    `GET /v2/${path} HTTP/1.1\r\nHost: a\r\n${last ? 'Connection: close\r\n' : ''}\r\n`;
  socket.write(paths.map((path, index) => request(path, index === paths.length - 1)).join(''));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The bodies of answers, each of the length that its head announces. */
function bodiesIn(bytes: Buffer): Buffer[] {
  const bodies: Buffer[] = [];
  for (let rest = bytes; rest.byteLength > 0; ) {
    const end = rest.indexOf('\r\n\r\n') + 4;
    const length = Number(/content-length: (\d+)/i.exec(rest.toString('latin1', 0, end))?.[1]);
    bodies.push(rest.subarray(end, end + length));
    rest = rest.subarray(end + length);
  }
  return bodies;
}

const sizes = [0, 1, 256, 100_000];

describe('a body in one piece arrives byte for byte', () => {
  test('in answers to requests that came one after another, before the first was answered', async () => {
    const port = await listen(createServer(handler));
    const bodies = bodiesIn(await received(connect(port, '127.0.0.1'), sizes));
    expect(bodies).toEqual(sizes.map(bodyOf));
  });

  test('over TLS', async () => {
    const { ca, server: identity } = await selfSigned();
    const port = await listen(createTlsServer(identity, handler) as unknown as Server);
    const socket = connectTls({ port, host: '127.0.0.1', ca });
    const bodies = bodiesIn(await received(socket, sizes));
    expect(bodies).toEqual(sizes.map(bodyOf));
  });

  test('where its bytes are a part of more memory, and no Buffer', async () => {
    const part = new Uint8Array(bodyOf(1000)).subarray(100, 300);
    const handle = async (): Promise<HttpResponse> => ({ status: 200, headers: {}, body: part });
    const port = await listen(createServer(createNodeHandler({ handle })));
    expect(bodiesIn(await received(connect(port, '127.0.0.1'), [1]))).toEqual([Buffer.from(part)]);
  });
});

/** What is written to the connections of a server, piece by piece. */
function piecesOf(server: Server): unknown[] {
  const pieces: unknown[] = [];
  server.on('connection', (socket: Socket) => {
    vi.spyOn(socket, 'write').mockImplementation(function (this: Socket, ...args: unknown[]) {
      pieces.push(args[0]);
      return (Object.getPrototypeOf(this) as Socket).write.apply(this, args as Parameters<Socket['write']>);
    } as Socket['write']);
  });
  return pieces;
}

test('a body that is here is handed over as it is, and no further piece for its end', async () => {
  const server = createServer(handler);
  const pieces = piecesOf(server);
  const bytes = await received(connect(await listen(server), '127.0.0.1'), [256]);
  expect(pieces).toEqual([bytes.toString('latin1', 0, bytes.byteLength - 256), bodyOf(256)]);
});

test('a manifest that is asked for again and again is handed over in one piece with its head', async () => {
  const upstream = await startFakeUpstream();
  onTestFinished(upstream.stop);
  const image = upstream.addImage('team/app', { tag: '1' });
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: upstream.url }], storage: memoryStorage() });
  onTestFinished(() => cache.close());
  const server = createServer(createNodeHandler(cache));
  const pieces = piecesOf(server);
  const port = await listen(server);
  let bytes: Buffer | undefined;
  for (let asked = 0; asked < 4; asked++) {
    pieces.length = 0;
    bytes = await received(connect(port, '127.0.0.1'), [`up/team/app/manifests/${image.root.digest}`]);
    expect(bodiesIn(bytes).map(sha256)).toEqual([image.root.digest]);
  }
  expect(pieces).toEqual([bytes?.toString('latin1')]);
});
