import { type ProxyCache, ProxyCacheError } from '@proxycache/core';
import { inPath, type Operation } from './operation.ts';
import { listOf, record } from './schema.ts';
import { upstreamStatusSchema } from './upstream-schemas.ts';

const key = inPath('key', 'Key of the upstream');

/** What upstreams there are, and how they are doing. */
export function upstreamOperations(cache: Pick<ProxyCache, 'upstreams'>): readonly Operation[] {
  return [
    {
      id: 'upstreams.list',
      method: 'GET',
      path: '/upstreams',
      summary: 'Lists the upstreams, and how they are doing.',
      answers: { 200: { description: 'They', schema: record({ upstreams: listOf(upstreamStatusSchema) }) } },
      run: () => ({ status: 200, json: { upstreams: cache.upstreams.status() } }),
    },
    {
      id: 'upstreams.get',
      method: 'GET',
      path: '/upstreams/{key}',
      summary: 'Tells how an upstream is doing.',
      parameters: [key],
      answers: { 200: { description: 'The upstream', schema: upstreamStatusSchema } },
      run({ path }) {
        const found = cache.upstreams.status().find((one) => one.key === path['key']);
        if (!found) throw unknownUpstream(path['key'] ?? '');
        return { status: 200, json: found };
      },
    },
  ];
}

function unknownUpstream(given: string): ProxyCacheError {
  return new ProxyCacheError('name-unknown', `there is no upstream ${JSON.stringify(given.slice(0, 60))}`);
}
