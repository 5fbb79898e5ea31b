import { describe, expect, it } from 'vitest';
import { requireRoot } from '../system.ts';
import { startDockerd } from './dockerd.ts';
import { documentedCommands } from './documented.ts';
import { publish, pullScenarios, runScenarios } from './pull-scenarios.ts';
import { hasPrograms, upstreamKey, useWorld } from './world.ts';

const programs = { dockerd: 'docker.io', docker: 'docker.io', containerd: 'containerd', runc: 'runc' };
const ready = hasPrograms(programs) && requireRoot();

describe.skipIf(!ready)('dockerd', () => {
  const world = useWorld(startDockerd);

  it('pulls by the name of the cache with the digest the image has upstream, until it is removed there', async () => {
    const { image, reference } = await publish(world, { name: 'direct' }, 'one');
    const name = `${world.cache.host}/${upstreamKey}/${reference.repository}:${reference.tag}`;
    expect((await world.client.docker('pull', name)).stdout).toContain(`Digest: ${image.manifest.digest}\n`);
    await world.upstream.remove(reference.repository, image);
    const refused = await world.client.docker('pull', name);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('manifest unknown');
  });

  documentedCommands(world, ['run=docker', 'run=docker-by-name', 'run=docker-build']);
  runScenarios(world);
  pullScenarios(world);
});
