import { createProxyCache, memoryStorage } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import { expect, onTestFinished, test } from 'vitest';
import { createStatistics } from './statistics.ts';

test('statistics count hits, forwards, stale answers, errors and bytes by upstream, and say how each is doing', async () => {
  const upstream = await startFakeUpstream();
  const { root, layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [100_000] });
  const cache = createProxyCache({
    upstreams: [
      { key: 'up', url: upstream.url, retry: { attempts: 1 } },
      { key: 'idle', url: 'http://127.0.0.1:9' },
    ],
    storage: memoryStorage(),
    retention: { maxBytes: 10_000_000 },
  });
  onTestFinished(async () => {
    await cache.close({ graceMs: 0 });
    await upstream.stop();
  });
  const get = async (path: string) => (await cache.fetch(new Request(`http://cache/v2/${path}`))).arrayBuffer();
  const statistics = createStatistics(cache, { now: () => 1_000 });
  const blob = `up/team/app/blobs/${layers[0]?.digest}`;
  let stored = 0;
  cache.observe(({ type }) => {
    if (type === 'ingest-ended') stored++;
  });
  await get('up/team/app/manifests/1');
  await get(blob);
  await expect.poll(() => stored).toBe(1);
  await get(blob);
  await get(`up/team/app/manifests/${root.digest}`);
  upstream.on({ path: /manifests/ }, { status: 500 });
  await get('up/team/app/manifests/1');
  await get('up/team/app/manifests/2');
  await get('nobody/manifests/2');

  const report = statistics.read();
  const served = 2 * 100_000 + 3 * root.size;
  expect(report.upstreams[0]).toMatchObject({
    key: 'up',
    status: { state: 'closed' },
    requests: 6,
    hits: 2,
    forwards: 3,
    stale: 1,
    errors: 1,
    upstreamErrors: 2,
  });
  const { bytesServed, bytesReceived, bytesSaved } = report.total;
  // The error's own text is sent, too.
  expect(bytesServed).toBeGreaterThanOrEqual(served);
  expect(bytesServed).toBeLessThan(served + 1_000);
  expect(bytesSaved).toBe(bytesServed - bytesReceived);
  expect(report).toMatchObject({ since: 1_000, storedBytes: 100_000 + root.size });
  expect(report.upstreams[1]).toMatchObject({ key: 'idle', requests: 0 });
  statistics.close();
  await get(blob);
  expect(statistics.read().total.requests).toBe(report.total.requests);
});
