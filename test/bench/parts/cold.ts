import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Part } from '../bench.ts';
import type { Image } from '../content.ts';
import { directContestant } from '../contestants/direct.ts';
import { drain } from '../load/drain.ts';
import { MiB, measured, usageValues } from '../measure.ts';
import { median } from '../report/statistics.ts';
import { type Performer, pullPaths, type Stage, setStage } from '../stage.ts';

const name = 'cold';
/** How long a cache may go on storing when its client has all: it counts for its CPU, not for the client's time. */
const storesOnForMs = 300;

/** Images that are not stored, through caches that have served others before, from an upstream on loopback. */
export const cold: Part = {
  name,
  title: 'Cold pulls, upstream on loopback',
  tables: [
    {
      part: name,
      metrics: ['wall', 'firstByte', 'cpu', 'memory', 'upstreamGets', 'upstreamMiB'],
      against: ['direct', 'registry', 'nginx'],
    },
  ],
  run: runCold,
};

async function runCold(bench: Bench): Promise<void> {
  const layer = (bench.isShort ? 16 : 64) * MiB;
  const size = `${layer / MiB} MiB`;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(16 * MiB));
    content.image('bench/image', Array(5).fill(layer));
    content.image('bench/single', [layer]);
  });
  const [before, image, single] = stage.content.images();
  try {
    const contestants = [directContestant, ...bench.contestants.filter(({ isCache }) => isCache)];
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const contestant of contestants) {
        const performer = await stage.start(contestant);
        const record = async (cell: string, pulled: Image) =>
          bench.record({
            part: name,
            cell,
            contestant: performer.name,
            values: await pull(bench, stage, { performer, image: pulled }),
          });
        await pull(bench, stage, { performer, image: before! });
        await record(`image, 5 x ${size}, 3 at once`, image!);
        await record(`one blob of ${size}`, single!);
        await performer.stop();
      }
    }
  } finally {
    await stage.close();
  }
}

/** Pulls an image that is not stored. */
export async function pull(bench: Bench, stage: Stage, { performer, image }: { performer: Performer; image: Image }) {
  await stage.origin.take();
  const [{ wallMs: wall, firstByteMs }, usage] = await measured(performer, async () => {
    const drained = await drain(bench.tools.drain, performer.url, { paths: pullPaths(image), connections: 3 });
    await sleep(storesOnForMs);
    return drained;
  });
  const { blobGets: upstreamGets, bytes } = await stage.origin.take();
  return {
    wall,
    firstByte: median(firstByteMs),
    firstByteMax: Math.max(...firstByteMs),
    ...usageValues(usage),
    upstreamGets,
    upstreamMiB: bytes / MiB,
  };
}
