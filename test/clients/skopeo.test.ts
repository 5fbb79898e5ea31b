import { describe, expect, it } from 'vitest';
import { documentedCommands } from './documented.ts';
import { publish, pullScenarios } from './pull-scenarios.ts';
import { startSkopeo } from './skopeo.ts';
import { snippetOf } from './snippet.ts';
import { hasPrograms, upstreamKey, useWorld } from './world.ts';

describe.skipIf(!hasPrograms({ skopeo: 'skopeo' }))('skopeo', () => {
  const world = useWorld(startSkopeo);

  documentedCommands(world, ['run=skopeo']);

  it('finds the images that the Kubernetes manifests of docs/clients.md name', async () => {
    await publish(world, { name: 'alpine', tag: '3.20' }, 'documented');
    const snippet = (file: string) => snippetOf(`file=${file}`, { cacheUrl: world.cache.url, upstreamKey });
    const value = (text: string, key: string) => new RegExp(`^ *${key}: "?([^"\\n]+)"?$`, 'm').exec(text)?.[1];
    const values = snippet('values.yaml');
    const names = [
      value(snippet('pod.yaml'), 'image'),
      `${value(values, 'registry')}/${value(values, 'repository')}:${value(values, 'tag')}`,
    ];
    for (const name of names) {
      expect(await world.client.shell(`skopeo inspect --raw --tls-verify=false docker://${name}`)).toContain(
        'manifests',
      );
    }
  });

  pullScenarios(world);
});
