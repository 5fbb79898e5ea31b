import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createProxyCache, fileStorage, type ProxyCacheEvent } from '@proxycache/core';
import { createNodeHandler } from '@proxycache/node-http';
import { type AddedImage, openFiles, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { ask } from './client.ts';
import { createBlobCheck, filesIn } from './disk.ts';
import { createRandom } from './random.ts';
import { measure } from './soak-run.ts';
import { Violation } from './violation.ts';

/** What a time of load came to. */
export interface LoadFigures {
  pulls: number;
  requests: number;
  bytes: number;
  left: number;
  faults: number;
  resumed: number;
  ingests: number;
  blobsHashed: number;
  /** Heap and external memory after a collection: after a quarter of the time, and in the end. */
  memory: [early: number, late: number];
}

const repository = 'team/app';
const base = `/v2/up/${repository}`;
const KiB = 1024;
const layerSizes = [700, 40 * KiB, 600 * KiB, 1500 * KiB];
const mostImages = 12;

/**
 * Pulls with many clients at once from a cache whose upstream keeps failing, for so many seconds of the machine's clock.
 *
 * @throws Violation for a pull that failed or brought wrong bytes, and for what is left behind
 */
export async function runLoad({
  seed,
  seconds,
  clients,
}: {
  seed: number;
  seconds: number;
  clients: number;
}): Promise<LoadFigures> {
  const random = createRandom(seed);
  const main = await startFakeUpstream();
  const spare = await startFakeUpstream({ address: '127.0.0.2' });
  const directory = mkdtempSync(join(tmpdir(), 'soak-load-'));
  const counts = new Map<string, number>();
  const observer = ({ type }: ProxyCacheEvent) => void counts.set(type, (counts.get(type) ?? 0) + 1);
  const cache = createProxyCache({
    upstreams: [{ key: 'up', url: main.url, endpoints: [spare.url], timeouts: { idle: '1s' }, retry: { budget: 1 } }],
    storage: fileStorage(directory),
    minFree: 0,
    observer,
  });
  const handler = createNodeHandler(cache);
  const server = createServer((req, res) => handler(req, res));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const figures = { pulls: 0, requests: 0, bytes: 0, left: 0, faults: 0 };
  const images: { tag: string; image: AddedImage }[] = [];
  const until = performance.now() + seconds * 1000;
  const goesOn = () => performance.now() < until;
  let made = 0;

  /** A new image in the place of the oldest. */
  function publish(): void {
    const tag = `v${made++}`;
    const sizes = Array.from({ length: random.between(1, 3) }, () => random.pick(layerSizes));
    const added = [main, spare].map((registry) =>
      registry.addImage(repository, { tag, layerSizes: sizes, seed: `${seed} ${tag}` }),
    );
    images.push({ tag, image: added[0]! });
    const oldest = images.length > mostImages ? images.shift() : undefined;
    // Who still pulls it may have the rest.
    if (oldest) void setTimeout(10_000).then(() => forget(oldest));
  }

  function forget({ tag, image }: (typeof images)[number]): void {
    for (const registry of [main, spare]) {
      registry.removeTag(repository, tag);
      registry.removeManifest(repository, image.root.digest);
      for (const { digest } of image.blobs) registry.removeBlob(repository, digest);
    }
  }

  async function get(path: string, digest: string): Promise<void> {
    const leaves = random.chance(0.05);
    const answered = await ask(
      origin,
      { method: 'GET', path, ...(leaves && { pace: { leaveAfter: 1000 } }) },
      () => undefined,
    );
    figures.requests++;
    figures.bytes += answered.body.byteLength;
    if (answered.end === 'left') figures.left++;
    else if (answered.status !== 200 || answered.end !== 'whole') {
      throw new Violation(
        `${path}: ${answered.status} ${answered.end} ${answered.failure ?? ''} ${answered.body.subarray(0, 300)}`,
      );
    } else if (sha256(answered.body) !== digest) throw new Violation(`${path}: wrong bytes`);
  }

  async function client(): Promise<void> {
    while (goesOn()) {
      const { tag, image } = random.pick(images);
      await get(`${base}/manifests/${tag}`, image.root.digest);
      await Promise.all(image.blobs.map(({ digest }) => get(`${base}/blobs/${digest}`, digest)));
      figures.pulls++;
    }
  }

  /** The first endpoint fails again and again; the second one never does, but for bodies that are cut. */
  async function trouble(): Promise<void> {
    while (goesOn()) {
      publish();
      figures.faults++;
      const cut = { cutAfter: random.int(1_000_000), how: random.pick(['fin', 'rst'] as const) };
      const blobs = { method: 'GET', path: /\/blobs\// };
      switch (random.weighted({ cut: 6, stall: 1, refuse: 2, drop: 1, slow: 1, down: 0.3 })) {
        case 'stall':
          main.on({ ...blobs, times: 1 }, { stallAfter: random.int(100_000) });
          break;
        case 'refuse':
          main.on({ times: random.between(1, 5) }, { status: random.pick([500, 502, 503, 429]) });
          break;
        case 'drop':
          main.on({ times: 2 }, { drop: 'rst' });
          break;
        case 'slow':
          main.on({ ...blobs, times: 3 }, { slow: { chunkBytes: 64 * KiB, everyMs: 5 } });
          break;
        case 'down':
          await main.stop();
          await setTimeout(1_000);
          await main.start();
          break;
        default:
          (random.chance(0.7) ? main : spare).on({ ...blobs, times: 1 }, cut);
      }
      await setTimeout(random.between(50, 300));
      for (const registry of [main, spare]) registry.clear();
    }
  }

  let early = 0;
  async function weigh(): Promise<void> {
    await setTimeout((seconds * 1000) / 4);
    early = await measure();
  }

  while (images.length < mostImages) publish();
  try {
    await Promise.all([trouble(), weigh(), ...Array.from({ length: clients }, client)]);
    for (const registry of [main, spare]) registry.heal();
    await cache.close({ graceMs: 60_000 });
    const late = await measure();
    const blobsHashed = await createBlobCheck().check(directory);
    const left = { files: openFiles(directory), spool: filesIn(directory, 'spool'), tmp: filesIn(directory, 'tmp') };
    if (Object.values(left).some((list) => list.length > 0)) throw new Violation(`left: ${JSON.stringify(left)}`);
    const open = [main, spare].map((registry) => registry.connections().open);
    if (open.some((count) => count > 0)) throw new Violation(`connections left open: ${open}`);
    const resumed = counts.get('ingest-resumed') ?? 0;
    return { ...figures, resumed, ingests: counts.get('ingest-ended') ?? 0, blobsHashed, memory: [early, late] };
  } catch (error) {
    throw new Violation(`load: seed ${seed}: ${(error as Error).message} ${JSON.stringify(figures)}`);
  } finally {
    server.closeAllConnections();
    server.close();
    await Promise.all([main.stop(), spare.stop()]);
    rmSync(directory, { recursive: true, force: true });
  }
}
