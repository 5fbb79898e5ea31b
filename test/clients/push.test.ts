import { describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireRoot } from '../system.ts';
import { startDockerd } from './dockerd.ts';
import { publish } from './pull-scenarios.ts';
import { hasPrograms, upstreamKey, useWorld } from './world.ts';

const programs = {
  skopeo: 'skopeo',
  dockerd: 'docker.io',
  docker: 'docker.io',
  containerd: 'containerd',
  runc: 'runc',
};
const ready = hasPrograms(programs) && requireRoot();

/** docker retries some refusals for 50 s; one that is final ends in less than one, on a machine that is not busy. */
const atOnceMs = 15_000;

describe.skipIf(!ready)('a push into the cache', () => {
  const world = useWorld(startDockerd);

  const expectRefusal = (pushed: CommandResult) => {
    expect(pushed.code).not.toBe(0);
    expect(pushed.stderr + pushed.stdout).toContain('is a proxy cache; push to the upstream registry');
    expect(pushed.durationMs).toBeLessThan(atOnceMs);
    const writes = world.upstream.takeAllRequests().filter(({ method }) => method !== 'GET' && method !== 'HEAD');
    expect(writes).toEqual([]);
  };

  it('is refused to skopeo at once with our message, and nothing is written', async () => {
    const { reference } = await publish(world, { name: 'skopeo' }, 'one');
    const folder = makeTemporaryFolder('push');
    try {
      const name = `${world.cache.host}/${upstreamKey}/${reference.repository}`;
      const source = ['copy', '--src-tls-verify=false', `docker://${name}:${reference.tag}`, `dir:${folder}`];
      expect((await runCommand({ program: 'skopeo', args: source })).code).toBe(0);
      const target = ['copy', '--dest-tls-verify=false', `dir:${folder}`, `docker://${name}-copy:1.0`];
      expectRefusal(await runCommand({ program: 'skopeo', args: target }));
    } finally {
      removeFolder(folder);
    }
  });

  it('is refused to docker at once with our message, and nothing is written', async () => {
    const { reference } = await publish(world, { name: 'docker' }, 'one');
    await world.client.pull(reference);
    const name = `${world.cache.host}/${upstreamKey}/library/docker-copy:1.0`;
    expect((await world.client.docker('tag', 'docker:1.0', name)).code).toBe(0);
    expectRefusal(await world.client.docker('push', name));
  });

  it('is refused to docker also where the cache has every layer already', async () => {
    const { reference } = await publish(world, { name: 'known' }, 'one');
    const name = `${world.cache.host}/${upstreamKey}/${reference.repository}`;
    expect((await world.client.docker('pull', `${name}:1.0`)).code).toBe(0);
    expect((await world.client.docker('tag', `${name}:1.0`, `${name}:2.0`)).code).toBe(0);
    expectRefusal(await world.client.docker('push', `${name}:2.0`));
  });
});
