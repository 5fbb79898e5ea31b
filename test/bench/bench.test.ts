import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { requireProgram } from '../system.ts';
import type { Bench, Part } from './bench.ts';
import { lineup } from './lineup.ts';
import { herd } from './parts/herd.ts';
import { host } from './parts/host.ts';
import { link } from './parts/link.ts';
import { scale } from './parts/scale.ts';
import { slow } from './parts/slow.ts';
import { warmBlobs } from './parts/warm-blobs.ts';
import { warmManifests } from './parts/warm-manifests.ts';
import { workers } from './parts/workers.ts';
import { distinct, type Sample } from './report/samples.ts';
import { tableOf } from './report/table.ts';
import { findTools, originOf } from './tools.ts';

const isPossible = [
  requireProgram('cc', 'gcc'),
  requireProgram('nginx', 'nginx-light'),
  requireProgram('wrk'),
  requireProgram('ab', 'apache2-utils'),
].every((program) => program !== undefined);

// What is measured here says nothing: that it can be measured is what must not rot.
describe.skipIf(!isPossible)('the benchmark, with next to no content and one round', () => {
  let folder: string;
  let tools: Bench['tools'];

  beforeAll(async () => {
    folder = makeTemporaryFolder('bench');
    tools = await findTools(folder);
  });
  afterAll(() => removeFolder(folder));

  async function run(part: Part, only: readonly string[]): Promise<readonly Sample[]> {
    const samples: Sample[] = [];
    await part.run({
      tools,
      startOrigin: originOf('nginx'),
      contestants: lineup({ only, checkouts: [], variants: [] }),
      rounds: 1,
      extent: 'tiny',
      isMillion: false,
      wants: () => true,
      newFolder: (name) => makeTemporaryFolder(`bench-${name}`),
      record: (sample) => void samples.push(sample),
      tell: () => undefined,
    });
    return samples;
  }

  it.each([
    { part: warmManifests, only: ['us'], names: ['us'] },
    { part: warmBlobs, only: ['bare', 'us'], names: ['bare', 'us'] },
    { part: herd, only: ['nginx', 'us'], names: ['direct', 'nginx', 'us'] },
    { part: link, only: ['us'], names: ['direct', 'pass', 'us'] },
    { part: host, only: ['us'], names: ['us', 'apart'] },
    { part: slow, only: ['us'], names: ['us'] },
    { part: scale, only: ['us'], names: ['us'] },
    { part: workers, only: [], names: ['one', 'us', 'bare', 'bare2'] },
  ])('measures $part.name', { timeout: 120_000 }, async ({ part, only, names }) => {
    const samples = await run(part, only);
    expect(distinct(samples.map(({ contestant }) => contestant))).toEqual(names);
    for (const { values } of samples) {
      for (const [metric, value] of Object.entries(values))
        expect([metric, Number.isFinite(value)]).toEqual([metric, true]);
    }
    for (const shape of part.tables) {
      const lines = tableOf(samples, shape).split('\n');
      expect(lines).toHaveLength(2 + distinct(samples.map(({ cell, contestant }) => `${cell} ${contestant}`)).length);
    }
  });
});
