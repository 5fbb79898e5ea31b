import { type Bench, type Part, sized } from '../bench.ts';
import { blobPath } from '../content.ts';
import type { Contestant } from '../contestants/contestant.ts';
import { drain, startDrain } from '../load/drain.ts';
import { startLink } from '../load/link.ts';
import { MiB, measured, usageValues } from '../measure.ts';
import { quantile } from '../report/statistics.ts';
import { type Performer, pullPaths, type Stage, setStage } from '../stage.ts';

const name = 'host';
const hostPath = '/host';
/** In turn one of them asks each millisecond: an answer that is late holds up its own connection's next request alone. */
const probes = 20;
/** Far more than there is time for: the probe is ended. */
const endless = 1_000_000;

/** What the host application feels: its own handler and event loop, while the cache in the same process takes a blob in. */
export const host: Part = {
  name,
  title: 'The host application during a cold pull: its own handler, asked each millisecond',
  tables: [
    {
      part: name,
      metrics: ['p99', 'handlerMax', 'loopP99', 'loopMax', 'throughput', 'cpu', 'memory'],
      against: ['apart'],
    },
  ],
  run: runHost,
};

/** How fast the upstream gives; 0 is as fast as it can. */
const speeds = [
  { cell: '125 MB/s', bytesPerSecond: 125_000_000 },
  { cell: 'full speed', bytesPerSecond: 0 },
];

async function runHost(bench: Bench): Promise<void> {
  const size = sized(bench, { full: 1024, short: 256, tiny: 4 }) * MiB;
  const stage = await setStage(bench, (content) => {
    content.image('bench/before', Array(8).fill(size / 64));
    content.image('bench/large', [size]);
  });
  const ours = bench.contestants.filter(({ isOurs }) => isOurs);
  try {
    for (const { cell, bytesPerSecond } of sized(bench, { full: speeds, short: speeds, tiny: speeds.slice(0, 1) })) {
      if (!bench.wants(cell)) continue;
      const link = await startLink(bench.tools.link, stage.origin.url, { roundTripMs: 0, bytesPerSecond });
      const upstream = bytesPerSecond === 0 ? stage.origin.url : link.url;
      for (let round = 0; round < bench.rounds; round++) {
        bench.tell(`${cell}, round ${round + 1}`);
        for (const contestant of ours) {
          for (const isApart of [false, true]) {
            const values = await sample(bench, stage, { contestant, upstream, isApart });
            bench.record({ part: name, cell, contestant: nameOf(contestant, isApart), values });
          }
        }
      }
      await link.stop();
    }
  } finally {
    await stage.close();
  }
}

/** Our first one is held against itself: the same handler in a process beside the one that does the work. */
const nameOf = ({ name: own }: Contestant, isApart: boolean) =>
  isApart ? (own === 'us' ? 'apart' : `${own}, apart`) : own;

async function sample(
  bench: Bench,
  stage: Stage,
  { contestant, upstream, isApart }: { contestant: Contestant; upstream: string; isApart: boolean },
) {
  const [before, image] = stage.content.images();
  const cache = await stage.start(contestant, { upstream });
  const probed = isApart ? await stage.start(contestant) : cache;
  for (const performer of new Set([cache, probed])) {
    await drain(bench.tools.drain, performer.url, { paths: pullPaths(before!), connections: 3 });
    // The handler shall not be new to the engine.
    await drain(bench.tools.drain, performer.url, {
      paths: [[hostPath]],
      requests: sized(bench, { full: 5000, short: 5000, tiny: 1 }),
    });
  }
  const path = blobPath(image!, image!.layers[0]!);
  await askLoop(probed, 'start');
  const probe = startDrain(bench.tools.drain, probed.url, {
    paths: [[hostPath]],
    requests: endless,
    connections: probes,
    paceMicroseconds: probes * 1000,
  });
  const [{ bytes, wallMs }, usage] = await measured(cache, () =>
    drain(bench.tools.drain, cache.url, { paths: [[path]] }),
  );
  probe.end();
  const { firstByteMs } = await probe.result;
  const loop = await askLoop(probed, 'stop');
  for (const performer of new Set([cache, probed])) await performer.stop();
  return {
    p99: quantile(firstByteMs, 0.99),
    handlerMax: Math.max(...firstByteMs),
    loopP99: loop.p99,
    loopMax: loop.max,
    throughput: bytes / MiB / (wallMs / 1000),
    ...usageValues(usage),
  };
}

async function askLoop({ url }: Performer, what: 'start' | 'stop'): Promise<{ p99: number; max: number }> {
  return (await (await fetch(`${url}/loop/${what}`)).json()) as { p99: number; max: number };
}
