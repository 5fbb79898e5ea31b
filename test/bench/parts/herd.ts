import { type Bench, type Part, sized } from '../bench.ts';
import { blobPath } from '../content.ts';
import { drain } from '../load/drain.ts';
import { MiB, measured, untilIdle, usageValues } from '../measure.ts';
import { median } from '../report/statistics.ts';
import { type Performer, type Stage, setStage } from '../stage.ts';
import { cachesInTurn } from './caches-in-turn.ts';

const name = 'herd';
const clients = 50;

/** Many clients that ask for one blob at once, which is not stored. */
export const herd: Part = {
  name,
  title: `A herd: ${clients} clients, one cold blob`,
  tables: [
    {
      part: name,
      metrics: ['wall', 'firstByte', 'firstByteMax', 'cpu', 'memory', 'upstreamGets', 'upstreamMiB'],
      against: ['direct', 'registry', 'nginx'],
    },
  ],
  run: runHerd,
};

async function runHerd(bench: Bench): Promise<void> {
  const size = sized(bench, { full: 64, short: 16, tiny: 1 }) * MiB;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(size / 4));
    content.image('bench/herd', [size]);
  });
  const [before, image] = stage.content.images();
  const [layer] = image!.layers;
  const path = blobPath(image!, layer!);
  try {
    await cachesInTurn(bench, stage, {
      before: before!,
      async perform(performer) {
        const values = await sample(bench, stage, { performer, path });
        bench.record({ part: name, cell: `${size / MiB} MiB`, contestant: performer.name, values });
      },
    });
  } finally {
    await stage.close();
  }
}

async function sample(bench: Bench, stage: Stage, { performer, path }: { performer: Performer; path: string }) {
  await stage.origin.take();
  const plan = { paths: [[path]], connections: clients, requests: clients };
  const [{ wallMs: wall, firstByteMs }, usage] = await measured(performer, async () => {
    const drained = await drain(bench.tools.drain, performer.url, plan);
    await untilIdle(performer);
    return drained;
  });
  const { blobGets: upstreamGets, bytes } = await stage.origin.take();
  const firstByte = median(firstByteMs);
  const upstreamMiB = bytes / MiB;
  return { wall, firstByte, firstByteMax: Math.max(...firstByteMs), ...usageValues(usage), upstreamGets, upstreamMiB };
}
