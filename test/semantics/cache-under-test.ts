import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createProxyCache,
  fileStorage,
  type ProxyCache,
  type ProxyCacheEvent,
  type ProxyCacheOptions,
  type Storage,
  type UpstreamOptions,
} from '@proxycache/core';
import { createNodeHandler, type NodeHandlerOptions } from '@proxycache/node-http';
import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  type ManualClock,
  manualClock,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { onTestFinished } from 'vitest';
import { type Got, type RequestOptions, request } from './request.ts';

/** A cache behind a real Node server, with a file storage of its own. */
export interface CacheUnderTest {
  readonly url: string;
  readonly cache: ProxyCache;
  readonly clock: ManualClock;
  readonly directory: string;
  readonly events: ProxyCacheEvent[];
  get(path: string, options?: RequestOptions): Promise<Got>;
  head(path: string, options?: RequestOptions): Promise<Got>;
  /** Another cache on the same folder, once this one is closed: what a restart leaves. */
  restart(changes?: Partial<ProxyCacheOptions>): Promise<void>;
  /** Events of one type so far. */
  seen<T extends ProxyCacheEvent['type']>(type: T): Extract<ProxyCacheEvent, { type: T }>[];
}

/** How a cache is set up around its options. */
export interface MountOptions extends NodeHandlerOptions {
  /** What is made of the storage in the test's own folder. Default: nothing. */
  wrapStorage?: (storage: Storage) => Storage;
}

/** Starts a cache; everything ends with the test. */
export async function startCache(
  options: Omit<ProxyCacheOptions, 'storage'> & Partial<Pick<ProxyCacheOptions, 'storage'>>,
  { wrapStorage = (storage) => storage, ...mount }: MountOptions = {},
): Promise<CacheUnderTest> {
  const directory = mkdtempSync(join(tmpdir(), 'proxycache-test-'));
  const clock = manualClock();
  const events: ProxyCacheEvent[] = [];
  const create = (changes: Partial<ProxyCacheOptions> = {}) => {
    const given = { ...options, ...changes };
    return createProxyCache({
      storage: options.storage ?? wrapStorage(fileStorage(directory, { clock })),
      clock,
      observer: (event) => events.push(event),
      ...given,
      // What one answer means: a test that is about asking again says so, and moves the clock.
      upstreams: given.upstreams.map((upstream) => ({ retry: { attempts: 1 }, ...upstream })),
    });
  };
  let cache = create();
  const server = createServer((req, res) => createNodeHandler(cache, mount)(req, res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const closing = cache.close({ graceMs: 0 });
    await clock.advance(0);
    await closing;
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    url,
    get cache() {
      return cache;
    },
    clock,
    directory,
    events,
    get: (path, init) => request(`${url}${path}`, { method: 'GET', ...init }),
    head: (path, init) => request(`${url}${path}`, { method: 'HEAD', ...init }),
    async restart(changes) {
      await cache.close();
      cache = create(changes);
    },
    seen: <T extends ProxyCacheEvent['type']>(type: T) =>
      events.filter((event): event is Extract<ProxyCacheEvent, { type: T }> => event.type === type),
  };
}

/** A fake registry that ends with the test. */
export async function startUpstream(options?: FakeUpstreamOptions): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream(options);
  onTestFinished(() => upstream.stop());
  return upstream;
}

/** One fake registry and a cache in front of it under the key `up`. */
export async function startPair(
  options: Partial<UpstreamOptions> & {
    fake?: FakeUpstreamOptions;
    cache?: Partial<ProxyCacheOptions>;
    mount?: MountOptions;
  } = {},
): Promise<{ upstream: FakeUpstream; cache: CacheUnderTest }> {
  const { fake, cache: cacheOptions, mount, ...upstreamOptions } = options;
  const upstream = await startUpstream(fake);
  const upstreams = [{ key: 'up', url: upstream.url, ...upstreamOptions }];
  const cache = await startCache({ upstreams, ...cacheOptions }, mount);
  return { upstream, cache };
}

/** `sha256:<hex>` of what came. */
export function digestOfBody(body: Uint8Array): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}
