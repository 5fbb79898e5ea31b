import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../s3/fault-proxy.ts';
import { type S3Server, startS3Server } from '../s3/s3-server.ts';
import { requireRoot } from '../system.ts';
import { startContainerd } from './containerd.ts';
import { startDockerd } from './dockerd.ts';
import { startPodman } from './podman.ts';
import { publish } from './pull-scenarios.ts';
import { hasPrograms, useWorld } from './world.ts';

const programs = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
};
const ready = hasPrograms({ ...programs, podman: 'podman' }) && requireRoot();

describe.skipIf(!ready)('a cache that sends clients to S3 for large blobs', () => {
  let s3: S3Server;
  let proxy: FaultProxy;

  beforeAll(async () => {
    s3 = await startS3Server();
    proxy = await startFaultProxy(s3);
  });
  afterEach(() => {
    proxy.faultOf = () => undefined;
  });
  afterAll(async () => {
    await proxy?.close();
    await s3?.close();
  });

  /** What clients got from S3 by themselves, by the URLs that the cache had signed. */
  const signed = () => proxy.requests.filter(({ path }) => path.includes('X-Amz-Signature'));

  describe.each([
    ['docker', startDockerd],
    ['containerd', startContainerd],
    ['podman', startPodman],
  ] as const)('%s', (name, startClient) => {
    const world = useWorld(startClient, async () => ({
      storage: {
        blobs: {
          s3: {
            ...{ bucket: s3.bucket, prefix: `${name}/`, endpoint: proxy.endpoint, forcePathStyle: true },
            ...{ accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey, redirectReads: true },
            answerWithin: '20s',
          },
        },
      },
    }));

    it('follows, and runs what it got there', async () => {
      const { image, reference } = await publish(world, { name: 'redirected' }, 'from S3');
      expect(await world.client.pull(reference)).toBe(image.manifest.digest);
      const blobs = image.blobs.filter(({ size }) => size > 65_536).map(({ digest }) => digest);
      expect(blobs).not.toEqual([]);
      const isStored = async () => {
        const url = `${world.cache.url}/v2/local/${reference.repository}/blobs/${blobs[0]}`;
        return (await fetch(url, { redirect: 'manual' })).status;
      };
      await expect.poll(isStored, { timeout: 30_000 }).toBe(307);
      proxy.requests.length = 0;
      expect(await world.client.pull(reference)).toBe(image.manifest.digest);
      expect(signed().length).toBeGreaterThan(0);
      for (const { headers } of signed()) expect(headers.authorization).toBeUndefined();
      expect(await world.client.run(reference)).toBe('from S3');
      expect(world.deadEnd.takeAttempts()).toEqual([]);
    });

    // docker tries for minutes, as with any blob that fails, before it goes past the cache.
    if (name === 'docker') return;
    it('does without it where it cannot get there: as with any blob that fails', async () => {
      const { reference } = await publish(world, { name: 'unreachable' }, 'from nowhere');
      await world.client.pull(reference);
      world.deadEnd.takeAttempts();
      proxy.faultOf = ({ path }) => (path.includes('X-Amz-Signature') ? { kind: 'reset' } : undefined);
      await expect(world.client.pull(reference)).rejects.toThrow();
      const pastTheCache = name === 'containerd' ? ['registry-1.docker.io:443'] : [];
      expect([...new Set(world.deadEnd.takeAttempts())]).toEqual(pastTheCache);
    });
  });
});
