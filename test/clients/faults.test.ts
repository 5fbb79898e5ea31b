import { describe, expect, it } from 'vitest';
import { requireRoot } from '../system.ts';
import { startContainerd } from './containerd.ts';
import { startDockerd } from './dockerd.ts';
import { faultScenarios, idle, type WrongLayer } from './fault-scenarios.ts';
import { startPodman } from './podman.ts';
import type { ImageReference, PullClient } from './pull-client.ts';
import { publish } from './pull-scenarios.ts';
import { startSkopeo } from './skopeo.ts';
import { configFor, hasPrograms, upstreamKey, useWorld } from './world.ts';

const isRoot = requireRoot();

const byItself: WrongLayer = {
  by: 'by a retry of its own',
  pull: async ({ client }, reference) => void (await client.pull(reference)),
};

const clients = [
  {
    client: 'skopeo',
    start: startSkopeo,
    ready: hasPrograms({ skopeo: 'skopeo' }),
    wrongLayer: {
      by: 'with --retry-times 1',
      async pull({ client, cache }, { repository, tag }) {
        const source = `docker://${cache.host}/${upstreamKey}/${repository}:${tag}`;
        await client.shell(`skopeo copy --retry-times 1 --src-tls-verify=false ${source} dir:retried`);
      },
    } satisfies WrongLayer,
  },
  {
    client: 'podman',
    start: startPodman,
    ready: hasPrograms({ podman: 'podman' }),
    wrongLayer: byItself,
  },
  {
    client: 'containerd',
    start: startContainerd,
    ready: hasPrograms({ containerd: 'containerd', ctr: 'containerd' }) && isRoot,
    wrongLayer: {
      by: 'once it has dropped what it had of it',
      async pull({ client }, reference) {
        // It keeps what it had of a broken pull and asks for the rest only, until its garbage collection has taken it.
        const outcome = () => client.pull(reference).catch(String);
        await expect.poll(outcome, { timeout: 30_000, interval: 500 }).toMatch(/^sha256:/);
      },
    } satisfies WrongLayer,
  },
  {
    client: 'docker',
    start: startDockerd,
    ready: hasPrograms({ dockerd: 'docker.io', docker: 'docker.io' }) && isRoot,
    wrongLayer: byItself,
  },
] as const;

describe.each(clients)('$client, before an upstream whose connections break', ({ start, ready, wrongLayer }) => {
  describe.skipIf(!ready)('with a cache between', () => {
    const world = useWorld<PullClient>(start, async (upstream) => configFor(upstream, { timeouts: { idle } }));
    faultScenarios(world, wrongLayer);
  });
});

describe.skipIf(!clients[0].ready)('an upstream that limits how often it is asked', () => {
  const world = useWorld(startSkopeo);
  const manifestOf = ({ repository, tag }: ImageReference) =>
    fetch(`${world.cache.url}/v2/${upstreamKey}/${repository}/manifests/${tag}`);

  it('is not in the way of a stored tag, and told for another with the time to wait', async () => {
    const { image, reference } = await publish(world, { name: 'stored' }, 'one');
    const { reference: other } = await publish(world, { name: 'not-stored' }, 'one');
    await world.client.pull(reference);
    world.upstream.takeRequests();
    world.upstream.befall('/manifests/', Array(20).fill({ status: 429, headers: { 'retry-after': '30' } }));

    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    const stored = await manifestOf(reference);
    expect([stored.status, stored.headers.get('docker-content-digest')]).toEqual([200, image.manifest.digest]);
    expect(stored.headers.get('warning')).toMatch(/^299 - "/);
    expect(Number(stored.headers.get('age'))).toBeGreaterThanOrEqual(0);

    for (const _ of ['at first', 'again']) {
      const refused = await manifestOf(other);
      expect(await refused.json()).toMatchObject({ errors: [{ code: 'TOOMANYREQUESTS' }] });
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
      expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(30);
    }
    // It was asked once for each, and left alone since.
    expect(world.upstream.takeRequests()).toHaveLength(2);
  });
});
