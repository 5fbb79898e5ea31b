import { readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileStorage } from '@proxycache/core';
import { expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';

const KiB = 1024;
const day = 24 * 3_600_000;
const apps = ['app0', 'app1', 'app2', 'app3'];

async function pull(cache: CacheUnderTest, repository: string): Promise<void> {
  expect((await pullImage(cache, { path: `/v2/up/${repository}`, tag: 't' })).status).toBe(200);
  const running = () => cache.seen('ingest-started').length - cache.seen('ingest-ended').length;
  await expect.poll(running).toBe(0);
  await cache.clock.advance(10);
}

async function held(cache: CacheUnderTest): Promise<Set<string>> {
  const digests = new Set<string>();
  const { signal } = new AbortController();
  for await (const { digest } of fileStorage(cache.directory).blobs.digests({ signal })) digests.add(digest);
  return digests;
}

/** Four images, after a restart, of which the record of one cannot be read: EIO, as from the memory of a process where it has none. */
async function startWithBadRecord(kind: string) {
  const retention = { every: false, maxBytes: 400 * KiB } as const;
  const { upstream, cache } = await startPair({ cache: { retention } });
  const images = apps.map((app) => upstream.addImage(app, { tag: 't', seed: app, layerSizes: [80 * KiB] }));
  for (const app of apps) await pull(cache, app);
  await cache.cache.close();
  const folder = join(cache.directory, 'metadata', kind, 'up', '-', 'app2');
  const bad = join(folder, readdirSync(folder)[0]!);
  rmSync(bad);
  symlinkSync('/proc/self/mem', bad);
  await cache.restart();
  return { upstream, cache, layers: images.map(({ layers }) => layers[0]!.digest) };
}

test.each([
  { kind: 'tag', isTold: true },
  { kind: 'use', isTold: true },
  // Not read where its use is known.
  { kind: 'link', isTold: false },
])(
  'one record that cannot be read ($kind) ended eviction in the whole cache, so that nothing new was stored',
  async ({ kind, isTold }) => {
    const { upstream, cache, layers } = await startWithBadRecord(kind);
    for (const app of ['new0', 'new1', 'new2']) {
      upstream.addImage(app, { tag: 't', seed: app, layerSizes: [80 * KiB] });
      await pull(cache, app);
    }
    expect(cache.seen('passed-through')).toEqual([]);
    expect(new Set(cache.seen('sweep-ended').map(({ outcome }) => outcome))).toEqual(new Set(['finished']));
    const left = await held(cache);
    expect(left.has(layers[0]!)).toBe(false);
    const told = cache.seen('store-failed').filter(({ subject }) => subject.startsWith(`${kind}/up/-/app2/`));
    expect(told.length > 0).toBe(isTold);
  },
);

test.each(['tag', 'link', 'use'])('one record that cannot be read (%s) ended each sweep and scrub', async (kind) => {
  const { cache, layers } = await startWithBadRecord(kind);
  await cache.cache.sweep();
  await cache.clock.advance(8 * day);
  const report = await cache.cache.sweep();
  expect(report.unread).toEqual(kind === 'tag' ? [{ upstream: 'up', repository: 'app2' }] : []);
  const left = await held(cache);
  expect(layers.map((layer) => left.has(layer))).toEqual([false, false, kind === 'tag', false]);
  const { blobs, records } = await cache.cache.scrub();
  expect(blobs).toMatchObject({ checked: left.size, flawed: 0 });
  // A link stays with its content gone; a scrub removes it.
  expect(records.damaged).toBe(kind === 'use' ? 0 : 1);
});
