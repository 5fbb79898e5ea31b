import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { listenOnLoopback } from '@proxycache/contract';
import type { HttpRequest, HttpResponse } from '@proxycache/core';
import { gate } from '@proxycache/test-kit';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createNodeHandler, type NodeHandlerOptions } from './node-handler.ts';

type Handle = (request: HttpRequest) => HttpResponse | undefined | Promise<HttpResponse | undefined>;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.unstubAllGlobals();
  for (const close of closing.splice(0)) await close();
});

async function listen(server: Server): Promise<string> {
  const host = await listenOnLoopback(server, '');
  closing.push(host.close);
  return host.url;
}

const serve = (handle: Handle, options?: NodeHandlerOptions): Promise<string> =>
  listen(createServer(createNodeHandler({ handle: async (message) => handle(message) }, options)));

const found = (body: HttpResponse['body']): HttpResponse => ({ status: 200, headers: {}, body });

describe('createNodeHandler', () => {
  test('answers 404 with an OCI error for what is not the cache’s and has no next', async () => {
    const url = await serve(() => undefined, { basePath: '/pfx' });
    for (const path of ['/', '/pfx/other']) {
      const answer = await fetch(url + path);
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ errors: [{ code: 'NOT_FOUND' }] });
    }
  });

  test('refuses a base path that is none when it is made, not when it is asked', () => {
    const cache = { handle: async () => undefined };
    expect(() => createNodeHandler(cache, { basePath: 'pfx/' })).toThrow('expected "" or a path');
  });

  test('hands what the host knows of a request to the cache', async () => {
    const url = await serve(({ context }) => found(Buffer.from(`${context}`)), {
      context: (req) => `from ${req.socket.remoteAddress}`,
    });
    expect(await (await fetch(url)).text()).toBe('from 127.0.0.1');
  });

  test('answers 500 and tells onError when the host fails to say what it knows', async () => {
    const errors: unknown[] = [];
    const url = await serve(({ context }) => found(Buffer.from(`${context}`)), {
      context: () => {
        throw new Error('no user');
      },
      onError: (error, req) => errors.push([String(error), req.url]),
    });
    expect((await fetch(`${url}/v2/`)).status).toBe(500);
    expect(errors).toEqual([['Error: no user', '/v2/']]);
  });

  test('asks the host once what it knows of a request, and of none that is not the cache’s', async () => {
    const asked: (string | undefined)[] = [];
    const handle = async (request: HttpRequest) =>
      request.url === '/v2/' ? found(Buffer.from(`${request.context} ${request.context}`)) : undefined;
    const handler = createNodeHandler({ handle }, { context: ({ url }) => asked.push(url) });
    const url = await listen(createServer((req, res) => handler(req, res, () => res.end('of the host'))));
    expect(await get(`${url}/`)).toBe('of the host');
    expect(await get(`${url}/v2/`)).toBe('1 1');
    expect(asked).toEqual(['/v2/']);
  });

  test('tells onError of a body that broke half-way', async () => {
    const errors: string[] = [];
    const url = await serve(() => found(halfABody()), { onError: (error) => errors.push(String(error)) });
    await expect(fetch(url).then((answer) => answer.text())).rejects.toThrow();
    expect(errors).toEqual(['Error: the disk broke']);
  });

  test('answers also when onError throws', async () => {
    const url = await serve(() => Promise.reject(new Error('broken')), {
      onError: () => {
        throw new Error('the log is full');
      },
    });
    expect((await fetch(url)).status).toBe(500);
  });

  test('says nothing to onError when it is the client that left', async () => {
    const errors: unknown[] = [];
    let left = (): void => undefined;
    const leaving = new Promise<void>((resolve) => {
      left = resolve;
    });
    const url = await serve(
      async (message) => {
        if (message.url === '/v2/') return found(Buffer.from('pong'));
        message.signal.addEventListener('abort', left);
        await leaving;
        throw message.signal.reason;
      },
      { onError: (error) => errors.push(error) },
    );
    const controller = new AbortController();
    const leaver = fetch(`${url}/v2/slow`, { signal: controller.signal }).catch(() => undefined);
    await fetch(`${url}/v2/`);
    controller.abort();
    await Promise.all([leaver, leaving]);
    await fetch(`${url}/v2/`);
    expect(errors).toEqual([]);
  });

  test('makes no AbortController for a request whose signal nobody reads', async () => {
    let made = 0;
    vi.stubGlobal(
      'AbortController',
      class extends AbortController {
        constructor() {
          super();
          made++;
        }
      },
    );
    const url = await serve((message) =>
      found(Buffer.from(message.url === '/v2/signal' ? `${message.signal.aborted}` : '')),
    );
    await get(`${url}/v2/`);
    expect(made).toBe(0);
    expect(await get(`${url}/v2/signal`)).toBe('false');
    expect(made).toBe(1);
  });

  test('reads the absolute form of a request target as a path', async () => {
    const url = await serve((message) => found(Buffer.from(message.url)));
    expect(await get(url, { path: 'http://registry:5000/v2/a%2Fb?n=1' })).toBe('/v2/a%2Fb?n=1');
    expect(await get(url, { path: 'http://registry?n=1' })).toBe('/?n=1');
    expect(await get(url, { path: '*', method: 'OPTIONS' })).toBe('*');
  });

  test('leaves an answer that the host gave meanwhile alone, and closes the body', async () => {
    const closed = vi.fn();
    const body = {
      [Symbol.asyncIterator]: () => ({ next: vi.fn(), return: async () => ({ done: true as const, value: closed() }) }),
    };
    let answered = (): void => undefined;
    const timeout = new Promise<void>((resolve) => {
      answered = resolve;
    });
    const handler = createNodeHandler({ handle: () => timeout.then(() => found(body)) });
    const url = await listen(
      createServer((req, res) => {
        handler(req, res);
        res.writeHead(503).end('the host gave up', answered);
      }),
    );
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([503, 'the host gave up']);
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
  });

  test('took a client that left with its last byte for one that was cut off', async () => {
    const held = gate();
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('all');
      // Files are closed, records written.
      await held.pass();
    }
    const errors: unknown[] = [];
    const handler = createNodeHandler(
      { handle: async () => ({ status: 200, headers: { 'content-length': '3' }, body: body() }) },
      { onError: (error) => errors.push(error) },
    );
    const closed: boolean[] = [];
    const url = await listen(
      createServer((req, res) => {
        res.once('close', () => closed.push(res.writableFinished));
        handler(req, res);
      }),
    );
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n');
    let text = '';
    for await (const chunk of socket) {
      text += chunk;
      if (text.endsWith('all')) break;
    }
    await expect.poll(() => closed).toEqual([true]);
    held.open();
    expect(errors).toEqual([]);
  });

  test('gives a copy of each chunk to middleware that wraps write, and waits for drain', async () => {
    const memory = Buffer.alloc(4);
    const kept: Uint8Array[] = [];
    async function* body(): AsyncGenerator<Uint8Array> {
      for (const fill of ['a', 'b', 'c']) yield memory.fill(fill);
    }
    const handler = createNodeHandler({ handle: async () => found(body()) });
    const url = await listen(
      createServer((req, res) => {
        keepChunks(res, kept);
        handler(req, res);
      }),
    );
    expect(await (await fetch(url)).text()).toBe('aaaabbbbcccc');
    expect(kept.map(String)).toEqual(['aaaa', 'bbbb', 'cccc']);
  });
});

async function* halfABody(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('half');
  throw new Error('the disk broke');
}

/** Middleware that takes no notice of callbacks and keeps the chunks, as a compressor may. */
function keepChunks(res: ServerResponse, kept: Uint8Array[]): void {
  const write = res.write.bind(res);
  res.write = ((chunk: Uint8Array) => {
    kept.push(chunk);
    write(chunk);
    setImmediate(() => res.emit('drain'));
    return false;
  }) as typeof res.write;
}

async function get(url: string, options: { path?: string; method?: string } = {}): Promise<string> {
  const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { agent: false, ...options }, resolve)
      .on('error', reject)
      .end();
  });
  let text = '';
  for await (const part of incoming) text += part;
  return text;
}
