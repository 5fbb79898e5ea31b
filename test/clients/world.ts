import { afterAll, beforeAll, vi } from 'vitest';
import { type CacheConfig, type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { type DeadEnd, startDeadEnd } from '../peers/dead-end.ts';
import { compileHello } from '../peers/hello-program.ts';
import type { RegistryAuth } from '../peers/registry-peer.ts';
import { startUpstreamPeer, type UpstreamPeer } from '../peers/upstream-peer.ts';
import { requireProgram } from '../system.ts';
import type { ClientSetting, PullClient } from './pull-client.ts';

/** The cache's key of the upstream, which it has for Docker Hub and for its default. */
export const upstreamKey = 'local';

// Daemons and containers on a machine that is busy with other tests.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

/** A registry, the cache before it, and a client before the cache. */
export interface World<Client> {
  upstream: UpstreamPeer;
  cache: CacheProcess;
  client: Client;
  /** Where a client ends up that goes to Docker Hub past the cache. */
  deadEnd: DeadEnd;
  /** The program of images that run. */
  program: Uint8Array;
}

/** Whether this machine has what all of these tests need, and these programs (by their Debian packages) too. */
export function hasPrograms(programs: Readonly<Record<string, string>>): boolean {
  const needed = { 'docker-registry': 'docker-registry', gcc: 'gcc libc6-dev', zstd: 'zstd', ...programs };
  return Object.entries(needed).filter(([program, pkg]) => requireProgram(program, pkg) === undefined).length === 0;
}

/** Starts a world before the tests of a `describe` and ends it after them; it may be read within them. */
export function useWorld<Client extends PullClient>(
  startClient: (setting: ClientSetting) => Promise<Client>,
  more: (upstream: UpstreamPeer) => Promise<Partial<CacheConfig>> = async () => ({}),
): World<Client> {
  const world = {} as World<Client>;
  const endings: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    world.program = await compileHello();
    world.deadEnd = await startDeadEnd();
    endings.unshift(world.deadEnd.close);
    world.upstream = await startUpstream();
    endings.unshift(world.upstream.close);
    world.cache = await startCacheProcess({ ...configFor(world.upstream), ...(await more(world.upstream)) });
    endings.unshift(world.cache.close);
    world.client = await startClient({
      cacheUrl: world.cache.url,
      upstreamKey,
      environment: world.deadEnd.environment,
    });
    endings.unshift(world.client.close);
  });
  afterAll(async () => {
    for (const end of endings) await end();
  });
  return world;
}

/** The registry of Debian, empty. */
export async function startUpstream(auth?: RegistryAuth): Promise<UpstreamPeer> {
  return startUpstreamPeer(requireProgram('docker-registry') ?? '', auth);
}

/** A cache that has this registry for Docker Hub and for its default upstream. */
export function configFor(upstream: UpstreamPeer, more: Partial<CacheConfig['upstreams'][0]> = {}): CacheConfig {
  return {
    upstreams: [{ key: upstreamKey, url: upstream.url, hosts: ['docker.io'], library: true, ...more }],
    defaultUpstream: upstreamKey,
  };
}
