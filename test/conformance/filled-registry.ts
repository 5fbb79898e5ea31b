import { type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, beforeAll, vi } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import type { Image } from '../peers/image-builder.ts';
import { pushImage } from '../peers/push-image.ts';
import { startRegistryPeer } from '../peers/registry-peer.ts';
import { requireProgram } from '../system.ts';
import { attached, known, otherRepository, repository, tagged } from './content.ts';

// The first start of a process on a machine that is busy with other tests.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

/** The upstream's key in the cache. */
export const upstreamKey = 'peer';

interface FilledRegistry {
  url: string;
  close(): Promise<void>;
}

async function startDockerRegistry(program: string): Promise<FilledRegistry> {
  const registry = await startRegistryPeer(program);
  for (const [tag, image] of Object.entries(tagged)) await pushImage(registry, { repository, tag }, image);
  for (const referrer of attached.referrers) await pushImage(registry, { repository }, referrer);
  await pushImage(registry, { repository, tag: attached.tag }, attached.list);
  await pushImage(registry, { repository: otherRepository, tag: 'single' }, known);
  return { url: registry.url(), close: registry.close };
}

async function startFake(): Promise<FilledRegistry> {
  const registry = await startFakeUpstream();
  for (const [tag, image] of Object.entries(tagged)) put(registry, { repository, tag }, image);
  for (const referrer of attached.referrers) put(registry, { repository }, referrer);
  put(registry, { repository: otherRepository, tag: 'single' }, known);
  return { url: registry.url, close: registry.stop };
}

function put(registry: FakeUpstream, name: { repository: string; tag?: string }, image: Image): void {
  for (const { bytes } of image.blobs) registry.putBlob(name.repository, bytes);
  for (const { bytes, mediaType } of image.children) registry.putManifest(name.repository, bytes, { mediaType });
  const { bytes, mediaType } = image.manifest;
  registry.putManifest(name.repository, bytes, { mediaType, tags: name.tag === undefined ? [] : [name.tag] });
}

const dockerRegistry = requireProgram('docker-registry');

/** The registries that the cache is held to the specification before: one without a referrers API, one that has all. */
export const registries: readonly (readonly [name: string, start: () => Promise<FilledRegistry>])[] = [
  ...(dockerRegistry === undefined
    ? []
    : [["Debian's docker-registry", () => startDockerRegistry(dockerRegistry)] as const]),
  ['a registry with all that the specification has', startFake],
];

/** The standalone server before a filled registry. */
export interface Front {
  /** The server's. */
  url: string;
  /** Below it: `/v2/KEY/REPOSITORY`. */
  name: string;
  cache: CacheProcess;
  registry: FilledRegistry;
}

/** Starts both before the tests of a `describe` and ends them after; to be read within them. */
export function useFront(start: () => Promise<FilledRegistry>): Front {
  const front = { name: `${upstreamKey}/${repository}` } as Front;
  beforeAll(async () => {
    front.registry = await start();
    front.cache = await startCacheProcess({ upstreams: [{ key: upstreamKey, url: front.registry.url }] });
    front.url = front.cache.url;
  });
  afterAll(async () => {
    await front.cache?.close();
    await front.registry?.close();
  });
  return front;
}
