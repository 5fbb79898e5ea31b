import { join } from 'node:path';
import { runOk } from '../../peers/run-command.ts';
import { removeFolder } from '../../peers/temporary-folder.ts';
import { type Bench, type Part, sized } from '../bench.ts';
import { type Image, manifestPath } from '../content.ts';
import type { Contestant } from '../contestants/contestant.ts';
import { runWrk } from '../load/http-load.ts';
import { MiB, measured, usageValues } from '../measure.ts';
import { benchFile, root } from '../places.ts';
import { fill, type Stage, setStage } from '../stage.ts';

const name = 'scale';
const recordsOfBlob = 10;

/** What a store holds already must not make anything slower: an empty one, and others that are old. */
export const scale: Part = {
  name,
  title: 'Stores of many records: start until a stored manifest is answered, then stored manifests at c16',
  tables: [
    { part: name, metrics: ['cpuPerRequest', 'requestsPerSecond', 'startUp', 'startCpu', 'memory'], against: [] },
  ],
  run: runScale,
};

/** A store that is filled, and stays when its server ends. */
interface OldStore {
  cell: string;
  contestant: Contestant;
  folder: string;
}

async function runScale(bench: Bench): Promise<void> {
  const million = bench.isMillion ? [1_000_000] : [];
  const sizes = sized(bench, {
    full: [0, 1000, 100_000, ...million],
    short: [0, 1000, 10_000, ...million],
    tiny: [100],
  });
  const stage = await setStage(bench, (content) => {
    content.image('bench/scale', [1000]);
  });
  const [image] = stage.content.images();
  const stores: OldStore[] = [];
  try {
    for (const contestant of bench.contestants.filter(({ isOurs }) => isOurs)) {
      for (const records of sizes) {
        const cell = `${records.toLocaleString('en')} records`;
        if (!bench.wants(cell)) continue;
        bench.tell(`filling ${cell}`);
        const folder = bench.newFolder('store');
        stores.push({ cell, contestant, folder });
        await grow(bench, stage, { contestant, folder, image: image!, records });
      }
    }
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const { cell, contestant, folder } of stores) {
        const values = await sample(bench, stage, { contestant, folder, image: image! });
        bench.record({ part: name, cell, contestant: contestant.name, values });
      }
    }
  } finally {
    for (const { folder } of stores) removeFolder(folder);
    await stage.close();
  }
}

interface Growth {
  contestant: Contestant;
  folder: string;
  image: Image;
  records: number;
}

async function grow(bench: Bench, stage: Stage, { contestant, folder, image, records }: Growth): Promise<void> {
  const performer = await stage.start(contestant, { folder });
  await fill(bench, stage, performer, image);
  await performer.stop();
  if (records === 0) return;
  const digests = [image.manifest, image.config, ...image.layers].map(({ digest }) => digest);
  const counts = [records, records / recordsOfBlob].map(String);
  const place = [contestant.checkout ?? root, join(folder, 'data')];
  const args = [benchFile('contestants/prefill.mjs'), ...place, ...counts, image.repository, ...digests];
  await runOk({ program: process.execPath, args, timeoutMs: 30 * 60_000 });
}

async function sample(
  bench: Bench,
  stage: Stage,
  { contestant, folder, image }: { contestant: Contestant; folder: string; image: Image },
) {
  const from = performance.now();
  const performer = await stage.start(contestant, { folder });
  const answer = await fetch(performer.url + manifestPath(image));
  if (!answer.ok) throw new Error(`${performer.name} answers ${answer.status} for what it has stored`);
  const startUp = performance.now() - from;
  const startCpu = performer.tree?.cpuSeconds() ?? 0;
  const peakAfterStart = performer.tree?.peakBytes() ?? 0;
  const plan = {
    url: performer.url + manifestPath(image),
    connections: 16,
    seconds: sized(bench, { full: 3, short: 2, tiny: 1 }),
  };
  // The code shall be as warm in each.
  await runWrk(bench.tools.wrk, plan);
  const [{ requests, requestsPerSecond }, usage] = await measured(performer, () => runWrk(bench.tools.wrk, plan));
  await performer.stop();
  const values = usageValues(usage, { requests });
  const memory = Math.max(values.memory ?? 0, peakAfterStart / MiB);
  return { ...values, requestsPerSecond, startUp, startCpu, memory };
}
