import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileStorage, type ProxyCacheOptions } from '@proxycache/core';
import { expect, test } from 'vitest';
import {
  pullWhole,
  type RunningCache,
  type SharingImage,
  scratchFolder,
  startDiskBytes,
  startOn,
  startSharingUpstream,
  sum,
} from './quota-world.ts';

/** A longer run, of more images, by hand: `QUOTA_SECONDS=120 QUOTA_IMAGES=1000`. */
const seconds = Number(process.env['QUOTA_SECONDS'] ?? 6);
const count = Number(process.env['QUOTA_IMAGES'] ?? 100);
const clients = 8;
/** Where the machine has much else to do. */
const patience = 120_000 + seconds * 5_000;
const { signal } = new AbortController();

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Clients that pull images at random, until the function is called. */
function pullAtRandom(url: string, images: readonly SharingImage[], failures: string[]) {
  let isOver = false;
  let pulls = 0;
  const running = Array.from({ length: clients }, async (_, client) => {
    while (!isOver) {
      const image = images[Math.floor(Math.random() * images.length)]!;
      const failure = await pullWhole(url, image, client % 2 === 0).catch((error: Error) => String(error));
      if (failure !== undefined) failures.push(failure);
      pulls++;
    }
  });
  return async () => {
    isOver = true;
    await Promise.all(running);
    return pulls;
  };
}

/** The most that the disk held at a look each 100 ms, beside what running transfers may bring, until the function is called. */
function watchDisk(used: () => Promise<number>, { events }: RunningCache, sizes: ReadonlyMap<string, number>) {
  let isOver = false;
  let most = 0;
  let mostBeside = 0;
  let looks = 0;
  const running = (async () => {
    let seen = 0;
    const coming = new Map<string, number>();
    while (!isOver) {
      const before = [...coming.values()];
      const stored = await used();
      for (const event of events.slice(seen)) {
        if (event.type === 'ingest-started') coming.set(event.digest, sizes.get(event.digest) ?? 0);
        if (event.type === 'ingest-ended') coming.delete(event.digest);
      }
      seen = events.length;
      most = Math.max(most, stored);
      mostBeside = Math.max(mostBeside, stored - sum(before));
      looks++;
      await pause(100);
    }
  })();
  return async () => {
    isOver = true;
    await running;
    return { most, mostBeside, looks };
  };
}

/** What tags and links name, and what that needs, by the stored bytes. */
async function reachable(directory: string) {
  const { blobs, metadata } = fileStorage(directory);
  const stored = new Map<string, number>();
  for await (const { digest, size } of blobs.digests({ signal })) stored.set(digest, size);
  const [roots, manifests] = [[] as string[], new Set<string>()];
  for (const key of await metadata.list('', { limit: 1_000_000, signal })) {
    const [kind, , , , last = ''] = key.split('/').map(decodeURIComponent);
    const digest = last.slice(last.indexOf('.') + 1);
    if (kind === 'link') roots.push(digest);
    if (kind === 'link' && last.startsWith('manifest.')) manifests.add(digest);
    if (kind !== 'tag') continue;
    const record = JSON.parse((await metadata.get(key, { signal }))?.value ?? '{}');
    for (const of of [record.value, record.lastComplete]) if (of) roots.push(of.digest);
  }
  const [reached, missing] = [new Set<string>(), [] as string[]];
  for (let digest = roots.pop(); digest !== undefined; digest = roots.pop()) {
    if (reached.has(digest) || !stored.has(digest)) continue;
    reached.add(digest);
    if (!manifests.has(digest)) continue;
    const { config, layers } = JSON.parse(await readFile(join(directory, 'blobs', digest.replace(':', '/')), 'utf8'));
    for (const child of [config, ...layers]) {
      roots.push(child.digest);
      if (!stored.has(child.digest)) missing.push(`${digest} lacks ${child.digest}`);
    }
  }
  const bytes = (of: Iterable<string>) => sum([...of].map((digest) => stored.get(digest) ?? 0));
  return { missing, storedBytes: bytes(stored.keys()), reachableBytes: bytes(reached) };
}

test(`${count} images under a maxBytes of half their size stay within it while clients pull: no pull fails, no image is torn`, {
  timeout: seconds * 1_000 + 3 * patience,
}, async () => {
  const { upstream, images, sizes } = await startSharingUpstream(count);
  const directory = scratchFolder();
  const options: Pick<ProxyCacheOptions, 'upstreams'> = {
    upstreams: [{ key: 'up', url: upstream.url, breaker: { openFor: '50ms', maxOpenFor: '100ms' } }],
  };
  const failures: string[] = [];

  // All of them, without a limit.
  const filling = await startOn(directory, { ...options, retention: { every: false } });
  const queue = images[Symbol.iterator]();
  const fill = async () => {
    for (const image of queue)
      failures.push(...[await pullWhole(filling.url, image, false)].filter((one) => one !== undefined));
  };
  await Promise.all(Array.from({ length: clients }, fill));
  await filling.close();
  const bytesBelow = startDiskBytes();
  const all = await bytesBelow([join(directory, 'blobs')]);
  expect([failures, all]).toEqual([[], sum(sizes.values())]);

  const maxBytes = Math.floor(all / 2);
  const running = await startOn(directory, { ...options, retention: { every: false, maxBytes } });
  const used = () => bytesBelow([join(directory, 'blobs'), join(directory, 'spool')]);
  await expect.poll(used, { timeout: patience }).toBeLessThanOrEqual(maxBytes);

  const disk = watchDisk(used, running, sizes);
  const end = Date.now() + seconds * 1_000;
  let pulls = 0;
  let sweeps = 0;
  let wholeAtStop = 0;
  for (let round = 0; Date.now() < end; round++) {
    const stop = pullAtRandom(running.url, images, failures);
    const until = Math.min(end, Date.now() + 1_000 + Math.random() * Math.min(seconds * 250, 10_000));
    while (Date.now() < until) {
      await pause(Math.random() * 1_000);
      await running.cache.sweep();
      sweeps++;
    }
    pulls += await stop();
    // What is here whole is served whole by itself, at whatever moment the upstream ends.
    await upstream.stop();
    const from = Math.floor(Math.random() * count);
    for (const image of [...images.slice(from), ...images.slice(0, from)].slice(0, 100)) {
      if (!(await running.cache.has(`up/${image.repository}:${image.tag}`))) continue;
      wholeAtStop++;
      const failure = await pullWhole(running.url, image, round % 2 === 0);
      // It may just have had to go.
      const isHere = failure !== undefined && (await running.cache.has(`up/${image.repository}:${image.tag}`));
      if (isHere) failures.push(`without upstream: ${failure}`);
    }
    await upstream.start();
    upstream.clear();
    const isBack = async () => {
      await pullWhole(running.url, images[0]!, true);
      return running.cache.upstreams.status()[0]?.state;
    };
    await expect.poll(isBack, { timeout: patience }).toBe('closed');
  }
  const seen = await disk();
  // Transfers go on when their clients have left, and make room.
  const comingIn = () =>
    running.events.reduce((count, { type }) => {
      return count + (type === 'ingest-started' ? 1 : type === 'ingest-ended' ? -1 : 0);
    }, 0);
  await expect.poll(comingIn, { timeout: patience }).toBe(0);
  const report = await running.cache.sweep();
  expect(report.unread).toEqual([]);
  const uncached = running.events.flatMap((event) => (event.type === 'passed-through' ? [event.digest] : []));
  const evictions = running.events.filter(
    (event) => event.type === 'sweep-ended' && event.reason === 'max-bytes',
  ).length;
  await running.close();
  const { missing, storedBytes, reachableBytes } = await reachable(directory);
  console.info(
    JSON.stringify({
      images: count,
      all,
      maxBytes,
      ...seen,
      pulls,
      sweeps,
      evictions,
      wholeAtStop,
      passed: uncached.length,
      storedBytes,
    }),
  );
  expect(failures).toEqual([]);
  expect(seen.mostBeside).toBeLessThanOrEqual(maxBytes);
  // What was passed on uncached, as nothing could go for it in time, is not here; nothing else is missing.
  expect(missing.filter((line) => !uncached.some((digest) => line.endsWith(digest)))).toEqual([]);
  expect([pulls > 0, evictions > 0, wholeAtStop > 0]).toEqual([true, true, true]);
  expect(storedBytes).toBe(reachableBytes);
});
