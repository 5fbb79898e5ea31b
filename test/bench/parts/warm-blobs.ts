import { type Bench, type Part, sized } from '../bench.ts';
import { blobPath, type Image } from '../content.ts';
import { drain } from '../load/drain.ts';
import { MiB, measured, usageValues } from '../measure.ts';
import { fill, type Performer, setStage } from '../stage.ts';

const name = 'blobs';

/** How a size of blobs is asked for: by so many connections, so many of them. */
interface Load {
  title: string;
  sizes: readonly number[];
  asked: readonly { connections: number; requests: number }[];
  /** How often each server is asked before it is measured: the first answers of a new process are V8's compiling. */
  before?: number;
}

const small: Load = {
  title: '1 MiB',
  sizes: Array(64).fill(MiB),
  before: 4000,
  asked: [
    { connections: 1, requests: 400 },
    { connections: 16, requests: 1500 },
    { connections: 64, requests: 2000 },
  ],
};
const middle: Load = {
  title: '64 MiB',
  sizes: [64 * MiB],
  asked: [
    { connections: 1, requests: 24 },
    { connections: 4, requests: 32 },
    { connections: 16, requests: 48 },
  ],
};
const large: Load = {
  title: '1 GiB',
  sizes: [1024 * MiB],
  asked: [
    { connections: 1, requests: 2 },
    { connections: 4, requests: 4 },
    { connections: 16, requests: 16 },
  ],
};

/** Blobs that are stored: how much a second, and what a GiB costs. */
export const warmBlobs: Part = {
  name,
  title: 'Stored blobs',
  tables: [{ part: name, metrics: ['throughput', 'cpuPerGiB', 'memory'], against: ['registry', 'nginx', 'bare'] }],
  run: runBlobs,
};

async function runBlobs(bench: Bench): Promise<void> {
  const loads = sized(bench, { full: [middle, large, small], short: [middle, small], tiny: [small] });
  for (const load of loads) {
    const wanted = load.asked.filter(({ connections }) => bench.wants(cellOf(load.title, connections)));
    if (wanted.length > 0) await runLoad(bench, { ...load, asked: wanted });
  }
}

const cellOf = (title: string, connections: number) => `${title} c${connections}`;

async function runLoad(bench: Bench, { title, sizes, asked, before }: Load): Promise<void> {
  const repository = `bench/${title.replaceAll(' ', '-').toLowerCase()}`;
  const stage = await setStage(bench, (content) => {
    content.image(repository, sizes);
  });
  try {
    const image = stage.content.image(repository, sizes);
    const performers: Performer[] = [];
    for (const contestant of bench.contestants) performers.push(await stage.start(contestant));
    for (const performer of performers) await fill(bench, stage, performer, image);
    if (before !== undefined && bench.extent !== 'tiny') {
      const paths = [image.layers.map((layer) => blobPath(image, layer))];
      for (const { url } of performers)
        await drain(bench.tools.drain, url, { paths, connections: 4, requests: before });
    }
    for (const { connections, requests } of asked) {
      const cell = cellOf(title, connections);
      bench.tell(cell);
      for (let round = 0; round < bench.rounds; round++) {
        for (const performer of performers) {
          const plan = { connections, requests: Math.ceil(requests / sized(bench, { full: 1, short: 4, tiny: 40 })) };
          bench.record({
            part: name,
            cell,
            contestant: performer.name,
            values: await sample(bench, performer, { image, plan }),
          });
        }
      }
    }
  } finally {
    await stage.close();
  }
}

async function sample(
  { tools }: Bench,
  performer: Performer,
  { image, plan }: { image: Image; plan: { connections: number; requests: number } },
) {
  const paths = [image.layers.map((layer) => blobPath(image, layer))];
  const [{ bytes, wallMs, requests }, usage] = await measured(performer, () =>
    drain(tools.drain, performer.url, { paths, ...plan }),
  );
  return {
    throughput: bytes / MiB / (wallMs / 1000),
    requestsPerSecond: (requests / wallMs) * 1000,
    ...usageValues(usage, { bytes }),
  };
}
