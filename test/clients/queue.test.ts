import { chunkGate, startFakeUpstream } from '@proxycache/test-kit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startCacheProcess } from '../peers/cache-process.ts';
import { startDeadEnd } from '../peers/dead-end.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import { requireRoot } from '../system.ts';
import { startDockerd } from './dockerd.ts';
import { startPodman } from './podman.ts';
import type { ClientSetting, PullClient } from './pull-client.ts';
import { startSkopeo } from './skopeo.ts';
import { hasPrograms, upstreamKey } from './world.ts';

const programs = {
  ...{ skopeo: 'skopeo', podman: 'podman' },
  ...{ dockerd: 'docker.io', docker: 'docker.io', containerd: 'containerd', runc: 'runc' },
};
const ready = hasPrograms(programs) && requireRoot();

/** With the config and the two layers that each image has: 20 blobs. */
const ballast = Array.from({ length: 17 }, () => 64 * 1024);
const isBlob = { method: 'GET', path: /\/blobs\// };

describe.skipIf(!ready)('an upstream with two connections, one of which is for blobs', () => {
  it('gives 20 cold blobs to skopeo, podman and docker at once, though they queue for more than 30 s', {
    timeout: 240_000,
  }, async () => {
    const deadEnd = await startDeadEnd();
    onTestFinished(deadEnd.close);
    const upstream = await startFakeUpstream();
    onTestFinished(upstream.stop);
    const cache = await startCacheProcess({
      upstreams: [
        { key: upstreamKey, url: upstream.url, hosts: ['docker.io'], library: true, limits: { maxConnections: 2 } },
      ],
      defaultUpstream: upstreamKey,
    });
    onTestFinished(cache.close);
    const program = await compileHello();
    const images = new Map<string, Image>();
    for (const name of ['skopeo', 'podman', 'docker']) {
      const image = buildImage({ name, message: name, program, ballast });
      expect(image.blobs).toHaveLength(20);
      const repository = `library/queue-${name}`;
      for (const { bytes } of image.blobs) upstream.putBlob(repository, bytes);
      const { bytes, mediaType } = image.manifest;
      upstream.putManifest(repository, bytes, { mediaType, tags: ['1.0'] });
      images.set(repository, image);
    }
    const setting: ClientSetting = { cacheUrl: cache.url, upstreamKey, environment: deadEnd.environment };
    const clients: PullClient[] = [];
    for (const start of [startSkopeo, startPodman, startDockerd]) {
      const client = await start(setting);
      onTestFinished(client.close);
      clients.push(client);
    }
    // The first blob alone holds up all that are behind it: a few bytes of it come now and then.
    const trickle = chunkGate(16);
    upstream.on({ ...isBlob, times: 1 }, { throttle: trickle });
    const began = performance.now();
    const trickling = setInterval(() => (performance.now() - began < 33_000 ? trickle.allow() : trickle.open()), 3_000);
    onTestFinished(() => clearInterval(trickling));
    let queuedFor = 0;
    const watching = setInterval(() => {
      if (queuedFor === 0 && upstream.count(isBlob) > 1) queuedFor = performance.now() - began;
    }, 100);
    onTestFinished(() => clearInterval(watching));
    const pulled = await Promise.all(
      [...images].map(([repository], index) => clients[index]?.pull({ repository, tag: '1.0' })),
    );
    expect(queuedFor).toBeGreaterThan(30_000);
    expect(pulled).toEqual([...images.values()].map(({ manifest }) => manifest.digest));
    // Nobody came a second time, and nobody went elsewhere.
    const blobs = upstream.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
    expect(blobs).toHaveLength(60);
    expect(new Set(blobs.map(({ path }) => path)).size).toBe(60);
    expect(cache.served().filter(({ status, cutOff }) => status >= 400 || cutOff)).toEqual([]);
    expect(deadEnd.takeAttempts()).toEqual([]);
  });
});
