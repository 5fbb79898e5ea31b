import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createMetrics } from '@proxycache/admin';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import { startFakeUpstream } from '@proxycache/test-kit';
import * as client from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AdminUnderTest, openAdmin } from '../admin/admin-under-test.ts';
import { requireProgram } from '../system.ts';
import { type PrometheusServer, startPrometheus } from './prometheus-server.ts';

const prometheus = requireProgram('prometheus');
const promtool = requireProgram('promtool', 'prometheus');
const KiB = 1024;
// A machine under load may miss some of its readings.
const patiently = { timeout: 50_000 };

describe.skipIf(!prometheus || !promtool)('a real Prometheus', { timeout: 60_000 }, () => {
  const ends: (() => Promise<unknown>)[] = [];
  let server: PrometheusServer;
  let under: AdminUnderTest;

  beforeAll(async () => {
    const upstream = await startFakeUpstream();
    const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [100 * KiB] });
    const cache = createProxyCache({
      upstreams: [{ key: 'up', url: upstream.url }],
      storage: memoryStorage(),
      retention: { maxBytes: 100 * KiB * KiB },
    });
    let ingested = false;
    cache.observe(({ type }) => {
      ingested ||= type === 'ingest-ended';
    });
    const metrics = createMetrics(cache, { client, ofProcess: true });
    // The same object serves images and answers beside them.
    const admin = await openAdmin({ metrics }, { storage: memoryStorage() });
    under = admin;
    ends.push(
      () => upstream.stop(),
      () => cache.close({ graceMs: 0 }),
      admin.stop,
    );
    for (let i = 0; i < 3; i++) {
      await cache.fetch(new Request('http://cache/v2/up/team/app/manifests/1')).then((got) => got.arrayBuffer());
      const blob = new Request(`http://cache/v2/up/team/app/blobs/${layers[0]?.digest}`);
      await cache.fetch(blob).then((got) => got.arrayBuffer());
      // Then it is a hit.
      while (!ingested) await new Promise(setImmediate);
    }
    await cache.fetch(new Request('http://cache/v2/no-such/app/manifests/1'));
    server = await startPrometheus(`${prometheus}`, `${admin.url}/admin/v1/metrics`);
    ends.unshift(server.close);
  }, 60_000);

  afterAll(async () => {
    for (const end of ends) await end();
  });

  test('reads the metrics, and finds them up', async () => {
    await expect.poll(() => server.query('up'), patiently).toMatchObject([{ value: 1 }]);
    await expect.poll(() => server.target(), patiently).toMatchObject({ health: 'up', lastError: '' });
  });

  test('knows what was answered, sent and received, by upstream', async () => {
    const value = async (query: string) => (await server.query(query))[0]?.value;
    const all = 'sum(proxycache_requests_total{upstream="up",kind="blob",status="2xx"})';
    await expect.poll(() => value(all), patiently).toBe(3);
    expect(await value('proxycache_response_bytes_total{upstream="up",kind="blob",cache="hit"}')).toBe(200 * KiB);
    expect(await value('proxycache_upstream_received_bytes_total{upstream="up",operation="blob"}')).toBe(100 * KiB);
    expect(await value('sum(proxycache_ingests_total{outcome="stored"})')).toBe(1);
    expect(await value('proxycache_upstream_breaker_state{upstream="up",state="closed"}')).toBe(1);
    expect(await value('proxycache_stored_bytes')).toBeGreaterThan(100 * KiB);
    expect(await value('sum(proxycache_request_duration_seconds_count{kind="manifest"})')).toBe(4);
    expect(await value('proxycache_requests_total{upstream="",kind="manifest",status="4xx"}')).toBe(1);
    expect(await value('process_cpu_seconds_total')).toBeGreaterThan(0);
  });

  test('can work out every query of the dashboard', async () => {
    const text = readFileSync('examples/standalone/grafana/proxycache.json', 'utf8');
    const { panels } = JSON.parse(text) as { panels: { targets: { expr: string }[] }[] };
    for (const { expr } of panels.flatMap(({ targets }) => targets)) {
      const query = expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(instance|upstream)/g, '.*');
      await expect(server.query(query), query).resolves.toBeDefined();
    }
  });

  test('has nothing to say against their names and texts (promtool check metrics)', async () => {
    const { text } = await under.ask('/metrics');
    // Those of the process are of prom-client's naming.
    const own = text.split('\n').filter((line) => /^(# (HELP|TYPE) )?proxycache_/.test(line));
    const checked = spawnSync(`${promtool}`, ['check', 'metrics'], { input: `${own.join('\n')}\n`, encoding: 'utf8' });
    expect(`${checked.stdout}${checked.stderr}`).toBe('');
    expect(checked.status).toBe(0);
  });
});
