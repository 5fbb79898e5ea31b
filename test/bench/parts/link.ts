import { type Bench, type Part, sized } from '../bench.ts';
import type { Content, Image } from '../content.ts';
import type { Contestant, OurOptions } from '../contestants/contestant.ts';
import { directContestant } from '../contestants/direct.ts';
import { passContestant } from '../contestants/pass.ts';
import { type Drained, drain } from '../load/drain.ts';
import { type LinkShape, startLink } from '../load/link.ts';
import { MiB } from '../measure.ts';
import type { Metric } from '../report/metrics.ts';
import { median } from '../report/statistics.ts';
import { type Performer, pullPaths, setStage } from '../stage.ts';
import { pull } from './pull.ts';

const farAway: LinkShape = { roundTripMs: 20, bytesPerSecond: 125_000_000 };
const cdn: LinkShape = { ...farAway, bytesPerSecondOfConnection: 15_000_000 };

/** Images that are not stored, from an upstream that is 20 ms away at 1 Gbit/s. */
export const link: Part = {
  name: 'link',
  title: 'Cold pulls over a link of 20 ms and 125 MB/s',
  tables: [
    {
      part: 'link',
      metrics: ['wall', 'manifestFirstByte', 'firstByte', 'cpu', 'memory', 'upstreamGets', 'upstreamMiB'],
      against: ['direct', 'registry', 'nginx', 'pass'],
    },
  ],
  async run(bench) {
    const size = sized(bench, { full: 64, short: 16, tiny: 1 });
    const makeContent = (content: Content) => content.image('bench/image', Array(5).fill(size * MiB));
    const contestants = [directContestant, passContestant, ...bench.contestants.filter(({ isCache }) => isCache)];
    const cell = `image, 5 x ${size} MiB`;
    const later = sized(bench, { full: 30, short: 10, tiny: 2 });
    await runOver(bench, farAway, { part: 'link', cell, makeContent, contestants, rounds: bench.rounds, later });
  },
};

/** Rounds here are long, and differ little: the link decides. */
const mostRounds = 2;

/** One large blob that is not stored, where the upstream gives each connection an eighth of the link. */
export const segments: Part = {
  name: 'segments',
  title: 'One cold blob over a link of 20 ms and 125 MB/s, 15 MB/s a connection',
  tables: [
    {
      part: 'segments',
      metrics: ['wall', 'firstByte', 'cpu', 'memory', 'upstreamGets', 'upstreamMiB'],
      against: ['direct'],
    },
  ],
  async run(bench) {
    const size = sized(bench, { full: 1024, short: 128, tiny: 1 });
    const makeContent = (content: Content) => content.image('bench/large', [size * MiB]);
    const contestants = [directContestant, ...bench.contestants.filter(({ isOurs }) => isOurs)];
    const rounds = Math.min(bench.rounds, mostRounds);
    const ourOptions = { upstream: { segments: {} } };
    await runOver(bench, cdn, { part: 'segments', cell: `${size} MiB`, makeContent, contestants, rounds, ourOptions });
  },
};

// What is up to 1 MiB leaves a cache when it has all come: that says nothing of a first byte.
const laterSizes = Array(5).fill(2 * MiB);
// The last of them: by then neither start nor silence tells.
const inStride = 10;

interface Run {
  part: string;
  cell: string;
  makeContent: (content: Content) => void;
  contestants: readonly Contestant[];
  rounds: number;
  ourOptions?: OurOptions;
  /** How many smaller images are pulled after that, one right after the other. Default: none. */
  later?: number;
}

/** What they took in the middle. */
function middle(drained: readonly Drained[]): Partial<Record<Metric, number>> {
  return {
    wall: median(drained.map(({ wallMs }) => wallMs)),
    manifestFirstByte: median(drained.map(({ firstByteMs: [manifest = 0] }) => manifest)),
    firstByte: median(drained.map(({ firstByteMs: [, ...ofBlobs] }) => median(ofBlobs))),
  };
}

async function inTurn(
  bench: Bench,
  performer: Performer,
  images: readonly Image[],
  connections: number,
): Promise<Drained[]> {
  const drained: Drained[] = [];
  for (const image of images) {
    drained.push(await drain(bench.tools.drain, performer.url, { paths: pullPaths(image), connections }));
  }
  return drained;
}

async function runOver(bench: Bench, shape: LinkShape, run: Run): Promise<void> {
  const { part, cell, makeContent, contestants, rounds, ourOptions = {}, later = 0 } = run;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(MiB));
    makeContent(content);
    for (let nth = 1; nth <= later; nth++) content.image(`bench/later-${nth}`, laterSizes);
  });
  const far = await startLink(bench.tools.link, stage.origin.url, shape);
  const [before, image, ...rest] = stage.content.images();
  const record = (name: string, { name: contestant }: Performer, drained: readonly Drained[]) =>
    bench.record({ part, cell: name, contestant, values: middle(drained) });
  try {
    for (let round = 0; round < rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const contestant of contestants) {
        const performer = await stage.start(contestant, { upstream: far.url, ourOptions });
        await pull(bench, stage, { performer, image: before! });
        const values = await pull(bench, stage, { performer, image: image! });
        bench.record({ part, cell, contestant: performer.name, values });
        if (rest.length > 0) {
          const threeAtOnce = await inTurn(bench, performer, rest, 3);
          record('image after image', performer, threeAtOnce.slice(-inStride));
        }
        await performer.stop();
        if (rest.length === 0) continue;
        // Where three are asked for at once, each finds the line full of the others: that is the line's wait, not the cache's.
        const another = await stage.start(contestant, { upstream: far.url, ourOptions });
        await pull(bench, stage, { performer: another, image: before! });
        const alone = await inTurn(bench, another, rest, 1);
        record('second image, a blob at a time', another, alone.slice(0, 1));
        record('image after image, a blob at a time', another, alone.slice(-inStride));
        await another.stop();
      }
    }
  } finally {
    await far.stop();
    await stage.close();
  }
}
