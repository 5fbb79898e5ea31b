import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createProxyCache,
  type Digest,
  digestOf,
  fileStorage,
  type ProxyCache,
  type ProxyCacheEvent,
} from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type RedisOptions, redisMetadata } from '@proxycache/redis';
import { type AddedImage, type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type Tracing, traceMetadata } from './traced-metadata.ts';

/** Clients that pull one image after the other from a cache on a real server, with metadata and coordinator in Redis. */
export interface PullingLoad {
  upstream: FakeUpstream;
  tracing: Tracing;
  events: readonly ProxyCacheEvent[];
  /** What went wrong with a pull. */
  failures: readonly string[];
  /** Images that were pulled whole. */
  pulled(): number;
  /** Pulls every image again that was pulled before, one after the other. */
  pullAgain(): Promise<void>;
  /** Ends the clients, after the pull each is at. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

const clients = 4;

type PulledImage = { repository: string; image: AddedImage };

/** Starts it; `options` say which Redis. Each other pull is of an image that nobody has pulled before. */
export async function startPullingLoad(options: Omit<RedisOptions, 'client'>): Promise<PullingLoad> {
  const upstream = await startFakeUpstream();
  const folder = makeTemporaryFolder('load');
  const tracing = traceMetadata();
  const metadata = redisMetadata(options);
  const coordinator = metadata.coordinator();
  const events: ProxyCacheEvent[] = [];
  const cache: ProxyCache = createProxyCache({
    upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }],
    storage: {
      ...fileStorage(folder),
      metadata: tracing.watch(metadata),
      coordinator: tracing.watchCoordinator(coordinator),
    },
    minFree: 0,
    observer: (event) => events.push(event),
  });
  const handler = createNodeHandler(cache);
  const server: Server = createServer((request, response) =>
    tracing.request(request.url ?? '', (answered) => {
      response.once('close', answered);
      handler(request, response);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/up`;

  const failures: string[] = [];
  const images: PulledImage[] = [];
  let made = 0;
  let stopped = false;

  async function ask(path: string, digest: Digest, method = 'GET'): Promise<void> {
    const response = await fetch(`${url}/${path}`, { method });
    const bytes = Buffer.from(await response.arrayBuffer());
    const got = method === 'HEAD' ? response.headers.get('docker-content-digest') : digestOf(bytes);
    if (response.status !== 200 || got !== digest) {
      failures.push(`${method} ${path}: ${response.status} ${got} ${bytes.toString('utf8', 0, 300)}`);
    }
  }

  async function pull({ repository, image }: PulledImage): Promise<void> {
    const { root, blobs } = image;
    await ask(`${repository}/manifests/1`, root.digest, 'HEAD');
    await ask(`${repository}/manifests/1`, root.digest);
    await ask(`${repository}/manifests/${root.digest}`, root.digest);
    await Promise.all(blobs.map(({ digest }) => ask(`${repository}/blobs/${digest}`, digest)));
  }

  async function client(): Promise<void> {
    for (let turn = 0; !stopped; turn++) {
      const repository = `team/app-${made++}`;
      const isNew = turn % 2 === 0 || images.length === 0;
      const next = isNew
        ? {
            repository,
            image: upstream.addImage(repository, { tag: '1', seed: repository, layerSizes: [90_000, 1_000] }),
          }
        : images[made % images.length]!;
      await pull(next).catch((error: Error) => failures.push(`${next.repository}: ${error.message} ${error.cause}`));
      if (isNew) images.push(next);
      pulled++;
    }
  }

  let pulled = 0;
  const running = Promise.all(Array.from({ length: clients }, client));
  const stop = async () => {
    stopped = true;
    await running;
  };
  return {
    upstream,
    tracing,
    events,
    failures,
    pulled: () => pulled,
    async pullAgain() {
      for (const one of [...images]) await pull(one);
    },
    stop,
    async close() {
      await stop();
      server.closeAllConnections();
      server.close();
      await cache.close();
      await coordinator.close();
      await metadata.close();
      tracing.close();
      await upstream.stop();
      removeFolder(folder);
    },
  };
}
