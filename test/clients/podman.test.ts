import { describe } from 'vitest';
import { requireRoot } from '../system.ts';
import { documentedCommands, documentedConfinement } from './documented.ts';
import { startPodman } from './podman.ts';
import { pullScenarios, runScenarios } from './pull-scenarios.ts';
import { hasPrograms, useWorld } from './world.ts';

const ready = hasPrograms({ podman: 'podman', runc: 'runc' }) && requireRoot();

describe.skipIf(!ready)('podman', () => {
  const world = useWorld(startPodman);
  documentedCommands(world, ['run=podman']);
  runScenarios(world);
  pullScenarios(world);
});

describe.skipIf(!ready)('podman with the cache for its docker.io', () => {
  documentedConfinement(useWorld((setting) => startPodman(setting, 'file=only/registries.conf')));
});
