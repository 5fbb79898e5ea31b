import { join } from 'node:path';
import { minimumAge } from '@proxycache/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type CommandResult, runCommand } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { type CacheUnderTest, startPair } from '../semantics/cache-under-test.ts';
import { requireProgram, requireRoot } from '../system.ts';
import { startDockerd } from './dockerd.ts';
import { startPodman } from './podman.ts';
import { hasPrograms, upstreamKey } from './world.ts';

// Daemons on a machine that is busy with other tests.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const day = 86_400_000;

/** A cache that holds what is younger than a week, and does not serve `secret/*`. */
async function startQuarantine() {
  const exclude = { repositories: ['secret/*'] };
  const { upstream, cache } = await startPair({ exclude, cache: { admission: { admit: minimumAge('7d') } } });
  const platforms = ['linux/amd64', 'linux/arm64'];
  const image = upstream.addImage('team/app', { tag: '1', platforms, seed: 'same' });
  upstream.addImage('secret/app', { tag: '1', platforms, seed: 'same' });
  const heldUntil = new Date(cache.clock.now() + 7 * day).toISOString().replace('.000', '');
  return { upstream, cache, image, heldUntil };
}

/** Blobs of which a client got more than a refusal. */
const blobsServed = (cache: CacheUnderTest) =>
  cache.seen('request').filter(({ kind, status }) => kind === 'blob' && status !== 403).length;

function imageName({ url }: CacheUnderTest, repository: string): string {
  return `${new URL(url).host}/up/${repository}:1`;
}

async function copied(cache: CacheUnderTest, repository: string): Promise<CommandResult> {
  const folder = makeTemporaryFolder('skopeo');
  onTestFinished(() => removeFolder(folder));
  const image = `docker://${imageName(cache, repository)}`;
  return runCommand({
    program: 'skopeo',
    args: ['copy', '--src-tls-verify=false', image, `dir:${join(folder, 'to')}`],
  });
}

describe.skipIf(requireProgram('skopeo') === undefined)('skopeo', () => {
  it('is told until when a young image is held, gets no byte of a layer, and all of it a week later', async () => {
    const { upstream, cache, image, heldUntil } = await startQuarantine();
    const first = await copied(cache, 'team/app');
    expect(first.stderr).toContain(`denied: held by policy until ${heldUntil}: it has to be 7d old`);
    for (const { digest } of image.manifests) {
      expect((await cache.get(`/v2/up/team/app/manifests/${digest}`)).status).toBe(403);
    }
    for (const { digest } of image.blobs) {
      expect((await cache.get(`/v2/up/team/app/blobs/${digest}`)).status).toBe(403);
    }
    expect([blobsServed(cache), upstream.count({ path: /\/blobs\// })]).toEqual([0, 0]);
    cache.clock.set(cache.clock.now() + 7 * day);
    expect(await copied(cache, 'team/app')).toMatchObject({ code: 0 });
    expect(blobsServed(cache)).toBe(3);
  });

  it('is told which pattern excludes a repository, also where another one of the same content was pulled', async () => {
    const { upstream, cache, image } = await startQuarantine();
    const reason = 'denied: excluded by policy: secret/app at up matches exclude.repositories \\"secret/*\\"';
    const excluded = async () => {
      const refused = await copied(cache, 'secret/app');
      expect(refused.stderr).toContain(reason);
    };
    await excluded();
    expect(upstream.count({})).toBe(0);
    await copied(cache, 'team/app');
    cache.clock.set(cache.clock.now() + 7 * day);
    expect(await copied(cache, 'team/app')).toMatchObject({ code: 0 });
    await excluded();
    for (const path of [`manifests/${image.root.digest}`, `blobs/${image.config.digest}`]) {
      expect((await cache.get(`/v2/up/secret/app/${path}`)).status).toBe(403);
      expect((await cache.get(`/v2/up/team/app/${path}`)).status).toBe(200);
    }
    expect(upstream.count({ path: /secret/ })).toBe(0);
  });
});

describe.skipIf(!requireRoot() || !hasPrograms({ podman: 'podman', dockerd: 'docker.io' }))('a client', () => {
  it('such as podman shows why an image is held', async () => {
    const { cache, heldUntil } = await startQuarantine();
    const podman = await startPodman({ cacheUrl: cache.url, upstreamKey, environment: {} });
    onTestFinished(() => podman.close());
    const refused = podman.shell(`podman pull --tls-verify=false ${imageName(cache, 'team/app')}`);
    await expect(refused).rejects.toThrow(`denied: held by policy until ${heldUntil}: it has to be 7d old`);
    expect(blobsServed(cache)).toBe(0);
  });

  it('such as docker shows why an image is held', async () => {
    const { cache, heldUntil } = await startQuarantine();
    const dockerd = await startDockerd({ cacheUrl: cache.url, upstreamKey, environment: {} });
    onTestFinished(() => dockerd.close());
    const refused = await dockerd.docker('pull', imageName(cache, 'team/app'));
    expect(refused.stderr).toContain(`denied: held by policy until ${heldUntil}: it has to be 7d old`);
    expect(blobsServed(cache)).toBe(0);
  });
});
