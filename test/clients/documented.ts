import { expect, it } from 'vitest';
import type { PullClient } from './pull-client.ts';
import { publish } from './pull-scenarios.ts';
import { snippetOf } from './snippet.ts';
import { upstreamKey, type World } from './world.ts';

/** What the commands of docs/clients.md pull. */
const documented = { name: 'alpine', tag: '3.20' };

/** Runs snippets of docs/clients.md as they stand there; each must succeed without asking Docker Hub. */
export function documentedCommands(world: World<PullClient>, markers: readonly string[]): void {
  it.each(markers)('does what docs/clients.md shows at %s', async (marker) => {
    await publish(world, documented, 'documented');
    world.deadEnd.takeAttempts();
    world.upstream.takeRequests();
    await world.client.shell(snippetOf(marker, { cacheUrl: world.cache.url, upstreamKey }));
    expect(world.upstream.takeRequests()).not.toEqual([]);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });
}

/** The client is set up so that nobody but the cache is ever asked: a removed image is not looked for elsewhere. */
export function documentedConfinement(world: World<PullClient>): void {
  it('asks nobody else for what the cache refuses', async () => {
    const { image, reference } = await publish(world, { name: 'confined', tag: '1.0' }, 'one');
    expect(await world.client.pull(reference)).toBe(image.manifest.digest);
    await world.upstream.remove(reference.repository, image);
    await expect(world.client.pull(reference)).rejects.toThrow(/manifest unknown|not found/);
    expect(world.deadEnd.takeAttempts()).toEqual([]);
  });
}
