import type { BodyFault } from './body-fault.ts';
import { type CountingProxy, type PassedRequest, startCountingProxy } from './counting-proxy.ts';
import type { Image } from './image-builder.ts';
import { pushImage, removeManifest } from './push-image.ts';
import { type RegistryAuth, startRegistryPeer } from './registry-peer.ts';

/** A real registry behind a counting proxy: what a cache has for an upstream. Filling it is not counted. */
export interface UpstreamPeer {
  /** Where the cache asks; the same after a restart. */
  readonly url: string;
  readonly host: string;
  /** Without a tag: by its digest alone, as referrers are. */
  push(repository: string, tag: string | undefined, image: Image): Promise<void>;
  /** Removes an image and each tag that names it. */
  remove(repository: string, image: Image): Promise<void>;
  /** What the cache asked since the last call, as `METHOD path`; pings and token calls apart. */
  takeRequests(): readonly string[];
  /** The same with headers and status, and with pings. */
  takeAllRequests(): readonly PassedRequest[];
  /** The same, and they stay. */
  requests(): readonly PassedRequest[];
  /** Plans what befalls the next answers whose path has this part, until requests are taken. */
  befall(path: string, faults: readonly BodyFault[]): void;
  /** Refuses connections from now on. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Starts one, empty. */
export async function startUpstreamPeer(program: string, auth?: RegistryAuth): Promise<UpstreamPeer> {
  const registry = await startRegistryPeer(program, auth);
  const proxy: CountingProxy = await startCountingProxy(registry.url);
  const take = () => {
    const requests = [...proxy.requests];
    proxy.reset();
    return requests;
  };
  return {
    url: proxy.url,
    host: `127.0.0.1:${proxy.port}`,
    push: (repository, tag, image) => pushImage(registry, { repository, ...(tag === undefined ? {} : { tag }) }, image),
    remove: (repository, image) => removeManifest(registry, repository, image.manifest.digest),
    takeRequests: () =>
      take()
        .filter(({ path }) => path !== '/v2/')
        .map(({ method, path }) => `${method} ${path}`),
    takeAllRequests: take,
    requests: () => [...proxy.requests],
    befall: proxy.befall,
    async stop() {
      await proxy.stop();
      await registry.stop();
    },
    async start() {
      await registry.start();
      await proxy.start();
    },
    async close() {
      await proxy.stop();
      await registry.close();
    },
  };
}
