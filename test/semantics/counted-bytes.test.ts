import { expect, it } from 'vitest';
import { startPair } from './cache-under-test.ts';

const KiB = 1024;

it('bytes that are sent, and those that come for them, are told without an audit', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1h' });
  const { root, layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [300 * KiB, 2 * KiB] });
  const paths = layers.map(({ digest }) => `/v2/up/team/app/blobs/${digest}`);
  for (let round = 0; round < 2; round++) {
    await cache.get('/v2/up/team/app/manifests/1');
    await cache.head('/v2/up/team/app/manifests/1');
    for (const path of paths) await cache.get(path);
    await expect.poll(() => cache.seen('ingest-ended')).toHaveLength(2);
  }
  await cache.get(`${paths[0]}`, { headers: { range: 'bytes=1-100' } });
  const bytes = cache.seen('request').map(({ kind, bytes: sent }) => [kind, sent]);
  const round = [
    ['manifest', root.size],
    ['manifest', 0],
    ['blob', undefined],
    ['blob', undefined],
  ];
  expect(bytes).toEqual([...round, ...round, ['blob', undefined]]);
  await expect.poll(() => cache.seen('response-ended')).toHaveLength(5);
  const sent = cache.seen('response-ended').map((event) => [event.cacheStatus.hit, event.bytes, event.complete]);
  expect(sent).toEqual([
    [false, 300 * KiB, true],
    [false, 2 * KiB, true],
    [true, 300 * KiB, true],
    [true, 2 * KiB, true],
    [true, 100, true],
  ]);
  const came = cache
    .seen('upstream-received')
    .map(({ operation, bytes: size, complete }) => [operation, size, complete]);
  expect(came).toEqual([
    ['manifest', root.size, true],
    ['blob', 300 * KiB, true],
    ['blob', 2 * KiB, true],
  ]);
});
