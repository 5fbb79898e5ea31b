import { readFileSync } from 'node:fs';
import { createMetrics } from '@proxycache/admin';
import { createProxyCache, memoryStorage } from '@proxycache/core';
import * as client from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';

interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[];
  templating: { list: { query: string | { query: string } }[] };
}

const dashboard = JSON.parse(readFileSync('examples/standalone/grafana/proxycache.json', 'utf8')) as Dashboard;
const page = readFileSync('docs/operations.md', 'utf8');

/** The families of metrics of a cache, with their labels by name. */
async function families(): Promise<Map<string, { type: string; help: string }>> {
  const cache = createProxyCache({ upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }], storage: memoryStorage() });
  onTestFinished(() => cache.close());
  const text = await createMetrics(cache, { client }).text();
  const helps = text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \1 (\S+)$/gm);
  return new Map([...helps].map(([, name = '', help = '', type = '']) => [name, { type, help }]));
}

test('every query of the dashboard names metrics that there are, and every metric but those of defects has a place in it', async () => {
  const known = await families();
  const queries = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...dashboard.templating.list.map(({ query }) => (typeof query === 'string' ? query : query.query)),
  ];
  const named = new Set(queries.flatMap((query) => query.match(/proxycache_\w+/g) ?? []));
  const meant = [...named].map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  expect(meant.filter((name) => !known.has(name))).toEqual([]);
  expect([...known.keys()].filter((name) => !meant.includes(name))).toEqual([]);
});

test('docs/operations.md has a row for every metric, and for no other', async () => {
  const rows = [...page.matchAll(/^\| `(proxycache_\w+)` +\| (\w+) +\|/gm)].map(([, name, type]) => `${name} ${type}`);
  const known = [...(await families())].map(([name, { type }]) => `${name} ${type}`);
  expect(rows.sort()).toEqual(known.sort());
});
