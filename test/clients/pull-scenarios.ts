import { beforeEach, expect, it } from 'vitest';
import { buildImage, buildIndex, type Image, machineArchitecture } from '../peers/image-builder.ts';
import type { ImageReference, PullClient, RunClient } from './pull-client.ts';
import type { World } from './world.ts';

/**
 * What each client must see, written once. Each test has a repository of its own; the last ones stop the upstream for
 * good.
 */
export function pullScenarios(world: World<PullClient>): void {
  beforeEach(() => {
    world.deadEnd.takeAttempts();
    world.upstream.takeRequests();
  });

  it('pulls cold, asking the upstream for nothing twice', async () => {
    const { image, reference } = await publish(world, { name: 'cold' }, 'one');
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    const asked = world.upstream.takeRequests();
    expect(asked).toEqual([...new Set(asked)]);
    expect(asked).toContain(`GET /v2/${reference.repository}/blobs/${image.blobs[0]?.digest}`);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });

  it('pulls warm with one HEAD at the upstream and not one GET', async () => {
    const { image, reference } = await publish(world, { name: 'warm' }, 'one');
    await world.client.pull(reference);
    world.upstream.takeRequests();
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    expect(world.upstream.takeRequests()).toEqual([`HEAD /v2/${reference.repository}/manifests/${reference.tag}`]);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });

  it('gets the new image after the tag moved, fetching only the layers that are new', async () => {
    const { image: old, reference } = await publish(world, { name: 'moved' }, 'one');
    await world.client.pull(reference);
    const { image } = await publish(world, { name: 'moved' }, 'two');
    world.upstream.takeRequests();
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    expect(image.manifest.digest).not.toBe(old.manifest.digest);
    const asked = world.upstream.takeRequests();
    expect(asked.filter((line) => line.startsWith('HEAD '))).toEqual([
      `HEAD /v2/${reference.repository}/manifests/${reference.tag}`,
    ]);
    const kept = new Set(old.blobs.map(({ digest }) => digest));
    expect(asked.filter((line) => kept.has(line.slice(line.lastIndexOf('/') + 1)))).toEqual([]);
  });

  it('fails after the tag was removed upstream', async () => {
    const { image, reference } = await publish(world, { name: 'removed' }, 'one');
    await world.client.pull(reference);
    await world.upstream.remove(reference.repository, image);
    const { status, code } = await manifestAnswer(world, reference);
    expect({ status, code }).toEqual({ status: 404, code: 'MANIFEST_UNKNOWN' });
    world.upstream.takeRequests();
    // What stands for a mirror is refused a second time, by the dead end.
    await expect(world.client.pull(reference)).rejects.toThrow(/manifest unknown|Forbidden/);
    expect(world.upstream.takeRequests().filter((line) => line.includes('/blobs/'))).toEqual([]);
  });

  it('pulls while the upstream is stopped, and after a restart of the cache', async () => {
    const { image, reference } = await publish(world, { name: 'stopped' }, 'one');
    await world.client.pull(reference);
    await world.upstream.stop();
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await world.cache.restart();
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await world.cache.crash();
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });
}

/** What clients that start containers must see. To be called before {@link pullScenarios}, which stops the upstream. */
export function runScenarios(world: World<RunClient>): void {
  it('runs what it pulled, and the new image after the tag moved', async () => {
    for (const message of ['one', 'two']) {
      const { reference } = await publish(world, { name: 'run' }, message);
      await world.client.pull(reference);
      expect(await world.client.run(reference)).toBe(message);
    }
  });
}

/** An image, and the name it was pushed under. */
export interface Published {
  image: Image;
  reference: ImageReference;
}

/** Moves a tag (default `1.0`) of `library/NAME` to a multi-platform image that prints `message`. */
export async function publish(
  world: World<unknown>,
  { name, tag = '1.0' }: { name: string; tag?: string },
  message: string,
): Promise<Published> {
  const reference = { repository: `library/${name}`, tag };
  const { program } = world;
  const other = machineArchitecture === 'arm64' ? 'amd64' : 'arm64';
  const image = buildIndex('oci', [
    { image: buildImage({ name, message, program }), architecture: machineArchitecture },
    { image: buildImage({ name, message: `${message} elsewhere`, program, architecture: other }), architecture: other },
  ]);
  await world.upstream.push(reference.repository, reference.tag, image);
  return { image, reference };
}

async function manifestAnswer(world: World<unknown>, { repository, tag }: ImageReference) {
  const response = await fetch(`${world.cache.url}/v2/local/${repository}/manifests/${tag}`);
  const body = (await response.json()) as { errors?: readonly { code: string }[] };
  return { status: response.status, code: body.errors?.[0]?.code };
}
