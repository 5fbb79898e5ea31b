import { createServer } from 'node:http';
import { adapterContract, casesOf, hostAnswer, listenOnLoopback, type MountAdapter } from '@proxycache/contract';
import type { HttpRequest, HttpResponse } from '@proxycache/core';
import Koa3 from 'koa';
import bodyParser from 'koa-bodyparser';
import compress from 'koa-compress';
import mount from 'koa-mount';
import Koa2 from 'koa2';
import { afterEach, describe, expect, test } from 'vitest';
import { type KoaContext, type KoaMiddleware, proxyCache } from './proxy-cache.ts';

const versions: [string, typeof Koa3][] = [
  ['Koa 2', Koa2 as unknown as typeof Koa3],
  ['Koa 3', Koa3],
];

type Cache = Parameters<typeof proxyCache>[0];

function mountIn(Koa: typeof Koa3, use: (app: Koa3, cache: Cache, prefix: string) => void): MountAdapter {
  return (cache, prefix) => {
    const app = new Koa();
    // Koa prints what it cannot tell a client that has left.
    app.silent = true;
    use(app, cache, prefix);
    app.use((ctx) => {
      ctx.body = hostAnswer(ctx.url);
    });
    return listenOnLoopback(createServer(app.callback()), prefix);
  };
}

describe.each(versions)('%s keeps the adapter contract', (_, Koa) => {
  const atBasePath = mountIn(Koa, (app, cache, basePath) => app.use(proxyCache(cache, { basePath })));
  for (const { name, run } of casesOf(adapterContract)) test(name, () => run(atBasePath));
});

describe.each(versions)('%s keeps the adapter contract below koa-mount, compression and a body parser', (_, Koa) => {
  const below = mountIn(Koa, (app, cache, prefix) => {
    app.use(compress({ threshold: 0 })).use(bodyParser({ enableTypes: ['json', 'form', 'text', 'xml'] }));
    app.use(prefix === '' ? proxyCache(cache) : mount(prefix, proxyCache(cache)));
  });
  for (const { name, run } of casesOf(adapterContract)) test(name, () => run(below));
});

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function listen(app: Koa3): Promise<string> {
  const host = await listenOnLoopback(createServer(app.callback()), '');
  closing.push(host.close);
  return host.url;
}

const cacheOf = (handle: (request: HttpRequest) => HttpResponse | undefined | Promise<HttpResponse | undefined>) => ({
  handle: async (request: HttpRequest) => handle(request),
});
const found = (text: string): HttpResponse => ({ status: 200, headers: {}, body: Buffer.from(text) });

describe.each(versions)('proxyCache in %s', (_, Koa) => {
  test('knows where it is mounted below koa-mount with a base path of its own', async () => {
    const app = new Koa();
    const inner = mount(
      '/inner',
      proxyCache(
        cacheOf(({ url, basePath }) => found(`${basePath} ${url}`)),
        { basePath: '/own' },
      ),
    );
    app.use(mount('/outer', inner));
    const answer = await fetch(`${await listen(app)}/outer/inner/own/v2/a%2Fb?n=1`);
    expect(await answer.text()).toBe('/outer/inner/own /v2/a%2Fb?n=1');
  });

  test('hands the user that the host found to the cache', async () => {
    const app = new Koa<{ user?: string }>();
    app.use((ctx, next) => {
      ctx.state.user = 'alice';
      return next();
    });
    const context = (ctx: KoaContext & { state: { user?: string } }) => ctx.state.user;
    app.use(
      proxyCache(
        cacheOf((request) => found(`for ${request.context}`)),
        { context },
      ),
    );
    expect(await (await fetch(await listen(app))).text()).toBe('for alice');
  });

  test('reads a body that a parser of the host has read before', async () => {
    const app = new Koa();
    app.use(bodyParser({ enableTypes: ['json'] }));
    app.use(proxyCache(cacheOf(async (request) => found(Buffer.from(await request.body(99)).toString()))));
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(await listen(app), { method: 'POST', body: '{"a":  1}', headers });
    expect(await answer.text()).toBe('{"a":  1}');
  });

  test('lets middleware above it see that the answer is written', async () => {
    const seen: unknown[] = [];
    const app = new Koa();
    const watch: KoaMiddleware = async (ctx, next) => {
      await next();
      seen.push(ctx.respond, ctx.res.statusCode, ctx.res.writableEnded);
    };
    app.use(watch);
    app.use(proxyCache(cacheOf(() => found('ours'))));
    expect((await fetch(await listen(app))).status).toBe(200);
    expect(seen).toEqual([false, 200, true]);
  });

  test('tells onError what failed', async () => {
    const errors: string[] = [];
    const app = new Koa();
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

test('fits the types of a Koa application', () => {
  const cache = cacheOf(() => undefined);
  const app = new Koa3().use(proxyCache(cache)).use(proxyCache(cache, { context: (ctx: Koa3.Context) => ctx.ip }));
  new Koa2().use(proxyCache(cache, { basePath: '/registry' }));
  expect(app.middleware).toHaveLength(2);
  expect(() => proxyCache(cache, { basePath: 'registry' })).toThrow('expected "" or a path');
});
