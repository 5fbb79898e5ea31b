import { type Bench, type Part, sized } from '../bench.ts';
import { manifestPath } from '../content.ts';
import { bareOf } from '../contestants/bare.ts';
import { standaloneContestant } from '../contestants/standalone.ts';
import { runDrain } from '../load/http-load.ts';
import { measured, usageValues } from '../measure.ts';
import { fill, type Performer, setStage } from '../stage.ts';

const name = 'workers';

/**
 * Stored manifests from the standalone server: two workers, held against one process, and bare Node at the same. The load is
 * the client that takes the least of a machine that it shares with them.
 */
export const workers: Part = {
  name,
  title:
    'Stored manifests by two workers and one process: the standalone server (`us`, `one`) and bare Node (`bare2`, `bare`)',
  tables: [{ part: name, metrics: ['requestsPerSecond', 'p99', 'cpuPerRequest', 'memory'], against: ['one', 'bare'] }],
  run: runWorkers,
};

async function runWorkers(bench: Bench): Promise<void> {
  const stage = await setStage(bench, (content) => {
    content.image('bench/workers', Array(7).fill(1000));
  });
  try {
    const image = stage.content.image('bench/workers', []);
    const contestants = [
      standaloneContestant({ name: 'one', workers: 1 }),
      standaloneContestant({ name: 'us', workers: 2 }),
      bareOf('bare', 1),
      bareOf('bare2', 2),
    ];
    const performers: Performer[] = [];
    for (const contestant of contestants) performers.push(await stage.start(contestant));
    for (const performer of performers) if (performer.isCache) await fill(bench, stage, performer, image);
    const seconds = sized(bench, { full: 2, short: 1, tiny: 1 });
    const load = async (performer: Performer, connections: number) => {
      const plan = { url: performer.url + manifestPath(image), connections, seconds };
      const [{ requests, requestsPerSecond, p99Ms: p99 }, usage] = await measured(performer, () =>
        runDrain(bench.tools.drain, plan),
      );
      return { requestsPerSecond, p99, ...usageValues(usage, { requests }) };
    };
    // Each worker has to have it in memory, and its code compiled.
    if (bench.extent !== 'tiny') for (const performer of performers) await load(performer, 16);
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const connections of sized(bench, { full: [16, 64], short: [16, 64], tiny: [16] })) {
        const cell = `GET by digest c${connections}`;
        if (!bench.wants(cell)) continue;
        for (const performer of performers) {
          const values = await load(performer, connections);
          bench.record({ part: name, cell, contestant: performer.name, values });
        }
      }
    }
  } finally {
    await stage.close();
  }
}
