import { describe, expect, it } from 'vitest';
import { requireRoot } from '../system.ts';
import { startContainerd } from './containerd.ts';
import { documentedCommands, documentedConfinement } from './documented.ts';
import { publish, pullScenarios, runScenarios } from './pull-scenarios.ts';
import { hasPrograms, upstreamKey, useWorld } from './world.ts';

const ready = hasPrograms({ containerd: 'containerd', ctr: 'containerd', runc: 'runc' }) && requireRoot();

describe.skipIf(!ready)('containerd', () => {
  const world = useWorld(startContainerd);
  documentedCommands(world, ['run=ctr']);
  runScenarios(world);
  pullScenarios(world);
});

describe.skipIf(!ready)('containerd with the cache for its docker.io', () => {
  const world = useWorld((setting) => startContainerd(setting, 'file=only/hosts.toml'));

  documentedConfinement(world);

  it('is told whose content it gets, by OCI-Namespace', async () => {
    const { reference } = await publish(world, { name: 'namespace' }, 'one');
    const path = `/v2/${reference.repository}/manifests/${reference.tag}`;
    const known = await fetch(`${world.cache.url}${path}?ns=docker.io`, { method: 'HEAD' });
    expect([known.status, known.headers.get('oci-namespace')]).toEqual([200, 'docker.io']);
    // As BuildKit asks a mirror that has a path.
    const keyed = await fetch(`${world.cache.url}/v2/${upstreamKey}${path.slice(3)}?ns=docker.io`, { method: 'HEAD' });
    expect([keyed.status, keyed.headers.get('oci-namespace')]).toEqual([200, 'docker.io']);
    const unknown = await fetch(`${world.cache.url}${path}?ns=unknown.example`, { method: 'HEAD' });
    expect(unknown.status).toBe(404);
  });
});
