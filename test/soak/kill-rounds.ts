import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type AddedImage, type FakeUpstream, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { type SpawnedServer, spawnServer } from '../faults/spawn-server.ts';
import { type Answered, ask } from './client.ts';
import { createBlobCheck, filesIn } from './disk.ts';
import { createRandom, type Random } from './random.ts';
import { Violation } from './violation.ts';

/** What rounds of kills came to. */
export interface KillFigures {
  rounds: number;
  /** Pulls that were cut off by a kill, and those that were whole before it. */
  cut: number;
  whole: number;
  /** Records and blobs that were acknowledged, and how many of them were asked for with the upstream down. */
  acknowledged: number;
  asked: number;
  blobsHashed: number;
  spoolsLeft: number;
}

const repository = 'team/app';
const base = `/v2/up/${repository}`;
const KiB = 1024;
const layerSizes = [3, 20 * KiB, 300 * KiB, 1024 * KiB, 3000 * KiB];
/** The upstream is down while what was acknowledged is asked for, and is asked again right after. */
const neverLeftAlone = { breaker: { failures: 1_000_000 } };
/** How many of what was acknowledged earlier are asked for again after each start. */
const sample = 6;

/**
 * Kills a cache over and over at random moments of pulls, at times one of two that share the folder.
 *
 * @throws Violation with the seed and the round
 */
export async function runKills({ seed, rounds }: { seed: number; rounds: number }): Promise<KillFigures> {
  const random = createRandom(seed);
  const upstream = await startFakeUpstream();
  const folder = mkdtempSync(join(tmpdir(), 'soak-kills-'));
  const figures = { rounds: 0, cut: 0, whole: 0, acknowledged: 0, asked: 0, blobsHashed: 0, spoolsLeft: 0 };
  const running = new Set<SpawnedServer>();
  try {
    const play = createRound({ random, upstream, folder, figures, running });
    for (figures.rounds = 1; figures.rounds <= rounds; figures.rounds++) await play(figures.rounds);
    figures.rounds = rounds;
    return figures;
  } catch (error) {
    throw new Violation(`kills: seed ${seed}, round ${figures.rounds}: ${(error as Error).stack}`);
  } finally {
    await Promise.all([...running].map((server) => server.kill()));
    await upstream.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Parts {
  random: Random;
  upstream: FakeUpstream;
  folder: string;
  figures: KillFigures;
  running: Set<SpawnedServer>;
}

function createRound({ random, upstream, folder, figures, running }: Parts): (round: number) => Promise<void> {
  // Paths that must be answered with these digests from now on, whatever becomes of the upstream.
  const acknowledged = new Map<string, string>();
  const disk = createBlobCheck();

  async function start(): Promise<SpawnedServer> {
    const server = await spawnServer(folder, upstream.url, neverLeftAlone);
    running.add(server);
    return server;
  }

  async function kill(server: SpawnedServer): Promise<void> {
    running.delete(server);
    await server.kill();
  }

  function get(server: SpawnedServer, path: string): Promise<Answered> {
    return ask(server.url, { method: 'GET', path }, () => undefined);
  }

  /** Everything of an image at once; what came whole of it. */
  async function pull(server: SpawnedServer, image: AddedImage, tag: string): Promise<void> {
    const paths = [
      `${base}/manifests/${tag}`,
      ...image.manifests.map(({ digest }) => `${base}/manifests/${digest}`),
      ...image.blobs.map(({ digest }) => `${base}/blobs/${digest}`),
    ];
    const answers = await Promise.all(paths.map(async (path) => ({ path, answered: await get(server, path) })));
    for (const { path, answered } of answers) {
      const digest = path.endsWith(`/${tag}`) ? image.root.digest : path.slice(path.indexOf('sha256:'));
      if (answered.status !== 200 || answered.end !== 'whole') {
        figures.cut++;
        if (answered.status !== 0 && answered.status !== 200) throw new Violation(`${path}: ${answered.status}`);
        continue;
      }
      figures.whole++;
      if (sha256(answered.body) !== digest) throw new Violation(`${path}: wrong bytes`);
      if (path.includes('/manifests/')) acknowledged.set(path, digest);
    }
  }

  function learn(server: SpawnedServer): void {
    for (const { type, outcome, digest } of server.events) {
      if (type === 'ingest-ended' && outcome === 'stored' && digest)
        acknowledged.set(`${base}/blobs/${digest}`, digest);
    }
    figures.acknowledged = acknowledged.size;
  }

  /** With the upstream gone, all that was acknowledged is there. */
  async function checkKept(server: SpawnedServer): Promise<void> {
    const all = [...acknowledged];
    const asked = [
      ...all.slice(-2 * sample),
      ...Array.from({ length: Math.min(sample, all.length) }, () => random.pick(all)),
    ];
    for (const [path, digest] of asked) {
      const { status, body } = await get(server, path);
      figures.asked++;
      if (status !== 200 || sha256(body) !== digest) {
        throw new Violation(`${path} was acknowledged, and is ${status} with the upstream down`);
      }
    }
  }

  return async (round) => {
    // Its port stays its own: another program's answer would be taken for the upstream's.
    const back = upstream.on({}, { drop: 'rst' });
    const server = await start();
    const left = filesIn(folder, 'spool');
    if (server.spooled.length + left.length > 0)
      throw new Violation(`in the spool after a start: ${server.spooled} ${left}`);
    if (filesIn(folder, 'tmp').length > 0) throw new Violation(`in tmp after a start: ${filesIn(folder, 'tmp')}`);
    await checkKept(server);
    figures.blobsHashed += await disk.check(folder);
    back();

    const other = random.chance(0.25) ? await start() : undefined;
    const tag = `v${round}`;
    const sizes = Array.from({ length: random.between(1, 4) }, () => random.pick(layerSizes));
    const image = upstream.addImage(repository, { tag, layerSizes: sizes, seed: `${random.seed} ${round}` });
    if (random.chance(0.5)) {
      const slow = { chunkBytes: random.pick([64 * KiB, 512 * KiB]), everyMs: 1 };
      upstream.on({ method: 'GET', path: /\/blobs\// }, { slow });
    }
    const pulls = Promise.all([server, ...(other ? [other] : [])].map((one) => pull(one, image, tag)));
    // Looked at once the kill is done.
    pulls.catch(() => undefined);
    const victims = other ? [random.chance(0.5) ? server : other] : [server];
    await setTimeout(random.int(random.pick([5, 30, 120])));
    await Promise.all(victims.map(kill));
    await pulls;
    figures.spoolsLeft += readdirSync(join(folder, 'spool')).length;
    upstream.heal();
    for (const survivor of [server, other]) {
      if (!survivor || victims.includes(survivor)) continue;
      // It was not touched: what it pulls now, with the leftovers of the other around, is whole.
      const answered = await get(survivor, `${base}/blobs/${image.config.digest}`);
      if (sha256(answered.body) !== image.config.digest) throw new Violation(`the survivor answers ${answered.status}`);
      await kill(survivor);
    }
    for (const one of [server, other]) if (one) learn(one);
    figures.blobsHashed += await disk.check(folder);
  };
}
