import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Admin, type AdminOptions, createAdmin } from '@proxycache/admin';
import { createProxyCache, memoryStorage, type ProxyCache, type ProxyCacheOptions } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { onTestFinished } from 'vitest';
import { checkAnswer } from './check-answer.ts';
import { type Asking, type Told, tell } from './tell.ts';

/** A cache and its operations API behind a server. */
export interface AdminUnderTest {
  cache: ProxyCache;
  admin: Admin;
  /** Of the server: the API is at `/admin/v1` below it. */
  url: string;
  /** Asks below `/admin/v1`; each answer is what the OpenAPI document says, or this throws. */
  ask(path: string, asking?: Asking): Promise<Told>;
  /** Asks for a path of the server, as it is. */
  askRaw(path: string, asking?: Asking): Promise<Told>;
}

/** Starts both; everything ends with the test. */
export async function startAdmin(...given: Parameters<typeof openAdmin>): Promise<AdminUnderTest> {
  const opened = await openAdmin(...given);
  onTestFinished(opened.stop);
  return opened;
}

/** Starts both, for the tests of a file. */
export async function openAdmin(
  options: Partial<AdminOptions> = {},
  cacheOptions: Partial<ProxyCacheOptions> = {},
): Promise<AdminUnderTest & { stop(): Promise<void> }> {
  const cache = createProxyCache({
    upstreams: [{ key: 'my-own', url: 'http://127.0.0.1:1' }],
    storage: memoryStorage(),
    ...cacheOptions,
  });
  const admin = createAdmin(cache, { authorize: 'loopback-only', ...options });
  const handle = createNodeHandler(admin);
  const server = createServer((req, res) => handle(req, res, () => createNodeHandler(cache)(req, res)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const askRaw = (path: string, asking?: Asking) => tell(`${url}`, path, asking);
  return {
    cache,
    admin,
    url,
    askRaw,
    async stop() {
      server.closeAllConnections();
      server.close();
      await admin.close();
      await cache.close({ graceMs: 0 });
    },
    async ask(path, asking) {
      const told = await askRaw(`/admin/v1${path}`, asking);
      checkAnswer(asking?.method ?? 'GET', path, told);
      return told;
    },
  };
}
