import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { serveMetrics } from './serve-metrics.ts';

const logger = pino({ level: 'silent' });

function makeCache() {
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }], storage: memoryStorage() });
  onTestFinished(() => cache.close({ graceMs: 0 }));
  return cache;
}

test('metrics of the cache and of the process are at /metrics, to be read and nothing else', async () => {
  const cache = makeCache();
  const served = await serveMetrics(cache, { host: '127.0.0.1', port: 0 }, logger);
  onTestFinished(served.stop);
  await cache.fetch(new Request('http://cache/v2/'));
  const answer = await fetch(served.url);
  expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4');
  const text = await answer.text();
  expect(text).toContain('proxycache_requests_total{upstream="",kind="ping",status="2xx",cache="none"} 1');
  expect(text).toContain('process_resident_memory_bytes');
  expect((await fetch(served.url, { method: 'HEAD' })).headers.get('content-length')).not.toBeNull();
  expect((await fetch(served.url, { method: 'POST' })).status).toBe(405);
  expect((await fetch(new URL('/', served.url))).status).toBe(404);
});

test('a port that is in use is told by its place in the configuration', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  const serving = serveMetrics(makeCache(), { host: '127.0.0.1', port }, logger);
  await expect(serving).rejects.toThrow(`metrics.port: 127.0.0.1 port ${port} is in use`);
});

test('the configuration wants its port, and has no metrics of several workers', () => {
  expect(parseConfig({ metrics: { port: 9464 } }, {}).metrics).toEqual({ host: '127.0.0.1', port: 9464 });
  expect(() => parseConfig({ metrics: {} }, {})).toThrow('metrics.port');
  expect(() => parseConfig({ metrics: { port: 1 }, workers: 2 }, {})).toThrow('expected `workers: 1` beside it');
});
