import { type Bench, type Part, sized } from '../bench.ts';
import { blobPath } from '../content.ts';
import { drain, type RunningDrain, startDrain } from '../load/drain.ts';
import { MiB } from '../measure.ts';
import { median } from '../report/statistics.ts';
import { type Performer, pullPaths, setStage } from '../stage.ts';

const name = 'slow';
const clients = 200;
const bytesPerSecond = 1_000_000;
const fastPulls = 5;

/** Many slow clients of one large blob, and one that is fast. */
export const slow: Part = {
  name,
  title: `${clients} clients that read 1 MB/s of one blob, and a fast one`,
  tables: [{ part: name, metrics: ['wall', 'memory'], against: ['registry', 'nginx', 'bare'] }],
  run: runSlow,
};

async function runSlow(bench: Bench): Promise<void> {
  const size = sized(bench, { full: 1024, short: 256, tiny: 4 }) * MiB;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(size / 64));
    content.image('bench/large', [size]);
  });
  const [before, image] = stage.content.images();
  const path = blobPath(image!, image!.layers[0]!);
  try {
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const contestant of bench.contestants) {
        const performer = await stage.start(contestant);
        await drain(bench.tools.drain, performer.url, { paths: pullPaths(before!), connections: 3 });
        const record = (cell: string, wall: number) => {
          const memory = (performer.tree?.peakBytes() ?? 0) / MiB;
          bench.record({ part: name, cell, contestant: performer.name, values: { wall, memory } });
        };
        performer.tree?.forgetPeak();
        // Bounded: who is slow is cut when the fast one has all it wanted.
        const slowOnes = startSlowOnes(bench, performer, path);
        record('cold, beside them', await timeOf(bench, performer, { path, pulls: 1 }));
        record('stored, beside them', await timeOf(bench, performer, { path, pulls: fastPulls }));
        slowOnes.end();
        await slowOnes.result;
        await timeOf(bench, performer, { path, pulls: 1 });
        performer.tree?.forgetPeak();
        record('stored, alone', await timeOf(bench, performer, { path, pulls: fastPulls }));
        await performer.stop();
      }
    }
  } finally {
    await stage.close();
  }
}

function startSlowOnes(bench: Bench, { url }: Performer, path: string): RunningDrain {
  return startDrain(bench.tools.drain, url, {
    paths: [[path]],
    connections: clients,
    requests: clients,
    bytesPerSecond,
  });
}

async function timeOf(bench: Bench, { url }: Performer, { path, pulls }: { path: string; pulls: number }) {
  const times: number[] = [];
  while (times.length < pulls) times.push((await drain(bench.tools.drain, url, { paths: [[path]] })).wallMs);
  return median(times);
}
