import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Admin, createAdmin } from '@proxycache/admin';
import { createProxyCache, memoryStorage, type ProxyCache } from '@proxycache/core';
import { proxyCache as inExpress } from '@proxycache/express';
import { proxyCache as inKoa } from '@proxycache/koa';
import { createNodeHandler } from '@proxycache/node-http';
import express from 'express';
import Koa from 'koa';
import { describe, expect, onTestFinished, test } from 'vitest';
import { tell } from './tell.ts';

type Mount = (admin: Admin, cache: ProxyCache) => RequestListener;

const inNodeHttp: Mount = (admin, cache) => {
  const [api, registry] = [
    createNodeHandler(admin, { basePath: '/ops' }),
    createNodeHandler(cache, { basePath: '/ops' }),
  ];
  return (req, res) => api(req, res, () => registry(req, res));
};

const mounts: Record<string, Mount> = {
  'node-http': inNodeHttp,
  Express: (admin, cache) => express().use('/ops', inExpress(admin)).use('/ops', inExpress(cache)) as RequestListener,
  Koa: (admin, cache) =>
    new Koa()
      .use(inKoa(admin, { basePath: '/ops' }))
      .use(inKoa(cache, { basePath: '/ops' }))
      .callback(),
};

describe.each(Object.entries(mounts))('%s', (_, mount) => {
  async function start(): Promise<string> {
    const cache = createProxyCache({
      upstreams: [{ key: 'my-own', url: 'http://127.0.0.1:1' }],
      storage: memoryStorage(),
    });
    const admin = createAdmin(cache, { authorize: 'loopback-only' });
    const server = createServer(mount(admin, cache));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(async () => {
      server.close();
      await admin.close();
      await cache.close({ graceMs: 0 });
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  test('serves the API beside the cache, and says where it is', async () => {
    const url = await start();
    expect((await tell(url, '/ops/admin/v1/upstreams')).json.upstreams).toHaveLength(1);
    expect((await tell(url, '/ops/admin/v1/openapi.json')).json.servers).toEqual([{ url: '/ops/admin/v1' }]);
    expect((await tell(url, '/ops/v2/')).status).toBe(200);
    expect((await tell(url, '/ops/other')).status).toBe(404);
  });

  test('starts a job whose Location can be followed', async () => {
    const url = await start();
    const started = await tell(url, '/ops/admin/v1/jobs', { method: 'POST', body: { kind: 'scrub' } });
    expect(started.status).toBe(202);
    const state = async () => (await tell(url, started.headers.location ?? '')).json.state;
    await expect.poll(state).toBe('finished');
  });

  test('lets the API see the connection and what a proxy added', async () => {
    const url = await start();
    const headers = { 'x-forwarded-for': '127.0.0.1' };
    expect((await tell(url, '/ops/admin/v1/upstreams', { headers })).status).toBe(403);
  });
});
