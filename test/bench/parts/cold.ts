import { type Bench, type Part, sized } from '../bench.ts';
import { MiB } from '../measure.ts';
import { setStage } from '../stage.ts';
import { cachesInTurn } from './caches-in-turn.ts';
import { pull } from './pull.ts';

const name = 'cold';

/** Images that are not stored, through caches that have served others before, from an upstream on loopback. */
export const cold: Part = {
  name,
  title: 'Cold pulls, upstream on loopback',
  tables: [
    {
      part: name,
      metrics: ['wall', 'manifestFirstByte', 'firstByte', 'cpu', 'memory', 'upstreamGets', 'upstreamMiB'],
      against: ['direct', 'registry', 'nginx'],
    },
  ],
  run: runCold,
};

async function runCold(bench: Bench): Promise<void> {
  const layer = sized(bench, { full: 64, short: 16, tiny: 1 }) * MiB;
  const size = `${layer / MiB} MiB`;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(layer / 4));
    content.image('bench/image', Array(5).fill(layer));
    content.image('bench/single', [layer]);
  });
  const [before, image, single] = stage.content.images();
  try {
    await cachesInTurn(bench, stage, {
      before: before!,
      async perform(performer) {
        for (const [cell, pulled] of [
          [`image, 5 x ${size}`, image!],
          [`one blob of ${size}`, single!],
        ] as const) {
          const values = await pull(bench, stage, { performer, image: pulled });
          bench.record({ part: name, cell, contestant: performer.name, values });
        }
      },
    });
  } finally {
    await stage.close();
  }
}
