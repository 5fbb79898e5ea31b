import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createProxyCache,
  digestOf,
  localCoordinator,
  memoryStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type Storage,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { chunkGate, type FakeUpstream, seededBytes, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MiB = 1024 * 1024;
const bytes = seededBytes('of one caller', 8 * MiB);
const digest = digestOf(bytes);
const waiting = { timeout: 15_000, interval: 10 };
const secret = 'a text that all caches of this storage know';
const blob = (repository: string) => `/v2/up/${repository}/blobs/${digest}`;
const gets = { method: 'GET', path: `/v2/team/secret/blobs/${digest}` };
const authorization = (user: string) => `Basic ${Buffer.from(`${user}:password-of-${user}`).toString('base64')}`;

interface Replica {
  cache: ProxyCache;
  server: Server;
  events: ProxyCacheEvent[];
  get(user: string, path: string): Promise<{ status: number; isRight: boolean }>;
  roles(): string[];
}

let upstream: FakeUpstream;
let shared: Omit<Storage, 'spoolDirectory'>;
let replicas: Replica[];

beforeEach(async () => {
  const of = (user: string, ...repositories: string[]) => ({ password: `password-of-${user}`, repositories });
  upstream = await startFakeUpstream({
    auth: {
      bearer: {
        public: [],
        users: { alice: of('alice', 'team/secret'), ann: of('ann', 'team/secret'), bob: of('bob', 'team/shared') },
      },
    },
  });
  upstream.putBlob('team/secret', bytes);
  upstream.putBlob('team/shared', 'something else');
  const { blobs, metadata } = memoryStorage();
  shared = { blobs, metadata, coordinator: localCoordinator() };
  replicas = [];
});
afterEach(async () => {
  for (const { server } of replicas) server.closeAllConnections();
  await Promise.all(replicas.map(({ cache }) => cache.close({ graceMs: 0 })));
  await Promise.all(replicas.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  await upstream.stop();
});

/** A cache on a host of its own, which reads from the others over HTTP. */
async function start(callerKey = 'tells callers apart in all of them'): Promise<Replica> {
  const events: ProxyCacheEvent[] = [];
  const server = createServer((req, res) => createNodeHandler(cache)(req, res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cache = createProxyCache({
    upstreams: [
      {
        key: 'up',
        url: upstream.url,
        credentials: 'caller',
        // Less than that of the test, for what cannot be had.
        blobWithin: '15s',
        retry: { attempts: 1 },
        breaker: { failures: 1_000 },
      },
    ],
    callerKey,
    storage: { ...shared, spoolDirectory: memoryStorage().spoolDirectory },
    peers: { url, secret },
    minFree: 0,
    observer: (event) => events.push(event),
  });
  const replica: Replica = {
    cache,
    server,
    events,
    roles: () => events.flatMap((event) => (event.type === 'ingest-shared' ? [event.role] : [])),
    async get(user, path) {
      const response = await fetch(`${url}${path}`, { headers: { authorization: authorization(user) } });
      return { status: response.status, isRight: Buffer.from(await response.arrayBuffer()).equals(bytes) };
    },
  };
  replicas.push(replica);
  return replica;
}

test('what one process brings in for a caller another gives to those alone who prove by themselves that they may', async () => {
  const [one, two] = [await start(), await start()];
  // So that no request is needed to learn what is asked for.
  for (const replica of [one, two]) expect((await replica.get('bob', '/v2/')).status).toBe(200);
  const body = chunkGate(MiB);
  upstream.script(gets, [{ throttle: body }]);
  const first = one.get('alice', blob('team/secret'));
  await expect.poll(one.roles, waiting).toEqual(['leader']);
  expect((await two.get('bob', blob('team/secret'))).status).toBe(403);
  body.allow(2);
  const second = two.get('ann', blob('team/secret'));
  await expect.poll(() => two.roles().includes('follower'), waiting).toBe(true);
  expect(upstream.count({ method: 'HEAD', path: gets.path })).toBeGreaterThanOrEqual(1);
  body.open();
  const right = { status: 200, isRight: true };
  expect(await Promise.all([first, second])).toEqual([right, right]);
  expect(upstream.requests.filter(({ method, path }) => method === 'GET' && path === gets.path)).toHaveLength(1);
  // Stored by now, for whoever may.
  expect((await two.get('bob', blob('team/secret'))).status).toBe(403);
  expect((await one.get('bob', blob('team/secret'))).status).toBe(403);
});

test('what was said to a caller is known to another process with the same callerKey, and to none with another', async () => {
  const one = await start();
  expect(await one.get('alice', blob('team/secret'))).toEqual({ status: 200, isRight: true });
  await expect
    .poll(() => one.events.some((event) => event.type === 'ingest-ended' && event.outcome === 'stored'), waiting)
    .toBe(true);
  await upstream.stop();
  const [same, other] = [await start(), await start('tells them apart in another way than these do')];
  expect(await same.get('alice', blob('team/secret'))).toEqual({ status: 200, isRight: true });
  expect((await same.get('ann', blob('team/secret'))).status).toBe(502);
  expect((await other.get('alice', blob('team/secret'))).status).toBe(502);
});
