import { createServer, type RequestListener } from 'node:http';
import { adapterContract, casesOf, hostAnswer, listenOnLoopback, type MountAdapter } from '@proxycache/contract';
import type { HttpRequest, HttpResponse } from '@proxycache/core';
import compression from 'compression';
import express5, { type Request } from 'express';
import express4 from 'express4';
import { afterEach, describe, expect, test } from 'vitest';
import { type ExpressMiddleware, proxyCache } from './proxy-cache.ts';

/** The part of Express that 4 and 5 share. */
interface Application extends RequestListener {
  use(...handlers: unknown[]): unknown;
}
type Express = (() => unknown) & Pick<typeof express5, 'json' | 'raw' | 'text' | 'urlencoded'>;

const versions: [string, Express][] = [
  ['Express 4', express4 as unknown as Express],
  ['Express 5', express5],
];

function mountIn(express: Express, hostMiddleware: readonly unknown[]): MountAdapter {
  return (cache, prefix) => {
    const app = express() as Application;
    for (const middleware of hostMiddleware) app.use(middleware);
    app.use(...(prefix === '' ? [] : [prefix]), proxyCache(cache));
    app.use(((req, res) => res.end(hostAnswer(req.url ?? ''))) satisfies ExpressMiddleware);
    return listenOnLoopback(createServer(app), prefix);
  };
}

describe.each(versions)('%s keeps the adapter contract', (_, express) => {
  for (const { name, run } of casesOf(adapterContract)) test(name, () => run(mountIn(express, [])));
});

describe.each(versions)('%s keeps the adapter contract below compression and body parsers', (_, express) => {
  const parsers = [express.json(), express.urlencoded({ extended: false }), express.text(), express.raw()];
  const middleware = [compression({ threshold: 0, filter: () => true }), ...parsers];
  for (const { name, run } of casesOf(adapterContract)) test(name, () => run(mountIn(express, middleware)));
});

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function listen(app: unknown): Promise<string> {
  const host = await listenOnLoopback(createServer(app as RequestListener), '');
  closing.push(host.close);
  return host.url;
}

const cacheOf = (handle: (request: HttpRequest) => HttpResponse | undefined | Promise<HttpResponse | undefined>) => ({
  handle: async (request: HttpRequest) => handle(request),
});
const found = (text: string): HttpResponse => ({ status: 200, headers: {}, body: Buffer.from(text) });

describe.each(versions)('proxyCache in %s', (_, express) => {
  test('knows where it is mounted below routers', async () => {
    const app = express() as Application;
    const inner = express() as Application;
    inner.use('/inner', proxyCache(cacheOf(({ url, basePath }) => found(`${basePath} ${url}`))));
    app.use('/outer', inner);
    const answer = await fetch(`${await listen(app)}/outer/inner/v2/a%2Fb?n=1`);
    expect(await answer.text()).toBe('/outer/inner /v2/a%2Fb?n=1');
  });

  test('hands the user that the host found to the cache', async () => {
    const app = express() as Application;
    const identify: ExpressMiddleware<Request & { user?: string }> = (req, _res, next) => {
      req.user = 'alice';
      next();
    };
    app.use(identify);
    const context = (req: Request & { user?: string }) => req.user;
    app.use(
      proxyCache(
        cacheOf((request) => found(`for ${request.context}`)),
        { context },
      ),
    );
    expect(await (await fetch(await listen(app))).text()).toBe('for alice');
  });

  test('reads a body that a parser of the host has read before', async () => {
    const app = express() as Application;
    app.use(express.text());
    app.use(proxyCache(cacheOf(async (request) => found(Buffer.from(await request.body(99)).toString()))));
    const answer = await fetch(await listen(app), {
      method: 'POST',
      body: 'text',
      headers: { 'content-type': 'text/plain' },
    });
    expect(await answer.text()).toBe('text');
  });

  test('tells onError what failed, and the host’s own error handler is not asked', async () => {
    const errors: string[] = [];
    const app = express() as Application;
    const onError = (error: unknown) => errors.push(String(error));
    app.use(
      proxyCache(
        cacheOf(() => Promise.reject(new Error('broken'))),
        { onError },
      ),
    );
    expect((await fetch(await listen(app))).status).toBe(500);
    expect(errors).toEqual(['Error: broken']);
  });
});

test('fits the types of an Express application', () => {
  const app = express5();
  const cache = cacheOf(() => undefined);
  app.use(proxyCache(cache));
  app.use('/registry', proxyCache(cache, { context: (req: Request) => req.ip }));
  express4().use('/registry', proxyCache(cache));
  expect(app).toBeTypeOf('function');
});
