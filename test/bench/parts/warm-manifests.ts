import { type Bench, type Part, sized } from '../bench.ts';
import { manifestPath } from '../content.ts';
import { type HttpLoad, type HttpLoadPlan, runAb, runWrk } from '../load/http-load.ts';
import { measured, usageValues } from '../measure.ts';
import { fill, type Performer, setStage } from '../stage.ts';

const name = 'manifests';

/** Manifests that are stored: requests a second, and what each costs. */
export const warmManifests: Part = {
  name,
  title: 'Stored manifests (1.7 KB)',
  tables: [
    {
      part: name,
      metrics: ['requestsPerSecond', 'p99', 'cpuPerRequest', 'memory'],
      against: ['registry', 'nginx', 'bare'],
    },
  ],
  run: runManifests,
};

async function runManifests(bench: Bench): Promise<void> {
  const stage = await setStage(bench, (content) => {
    content.image('bench/manifests', Array(7).fill(1000));
  });
  try {
    const image = stage.content.image('bench/manifests', []);
    const performers: Performer[] = [];
    for (const contestant of bench.contestants) performers.push(await stage.start(contestant));
    for (const performer of performers) await fill(bench, stage, performer, image);
    const byDigest = manifestPath(image);
    const byTag = manifestPath(image, image.tag);
    const get = (plan: HttpLoadPlan) => runWrk(bench.tools.wrk, plan);
    const head = (plan: HttpLoadPlan) => runAb(bench.tools.ab, plan);
    const seconds = sized(bench, { full: 2, short: 1, tiny: 1 });
    if (bench.extent !== 'tiny')
      for (const { url } of performers) await get({ url: url + byDigest, connections: 16, seconds });
    const loads = [
      ['GET by digest', get, byDigest],
      ['GET by tag', get, byTag],
      ['HEAD by digest', head, byDigest],
    ] as const;
    const crowds = sized(bench, { full: [16, 64], short: [16, 64], tiny: [16] });
    const cells = loads.flatMap((kind) => crowds.map((connections) => [...kind, connections] as const));
    // All in each round: they are held against each other, too.
    for (let round = 0; round < bench.rounds; round++) {
      bench.tell(`round ${round + 1}`);
      for (const [what, load, path, connections] of cells) {
        const cell = `${what} c${connections}`;
        if (!bench.wants(cell)) continue;
        for (const performer of performers) {
          const plan = { url: performer.url + path, connections, seconds };
          bench.record({ part: name, cell, contestant: performer.name, values: await sample(performer, load, plan) });
        }
      }
    }
  } finally {
    await stage.close();
  }
}

async function sample(performer: Performer, load: (plan: HttpLoadPlan) => Promise<HttpLoad>, plan: HttpLoadPlan) {
  const [{ requests, requestsPerSecond, p99Ms: p99 }, usage] = await measured(performer, () => load(plan));
  return { requestsPerSecond, p99, ...usageValues(usage, { requests }) };
}
