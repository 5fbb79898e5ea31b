import type { ProxyCacheOptions, UpstreamOptions } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { pullImage } from './pull-image.ts';

/** As of a caller who names what he has nothing for. */
const none = undefined as never;

describe('an option that is undefined has its default', () => {
  const ofUpstream: Partial<UpstreamOptions>[] = [
    { limits: { maxConnections: none, queueFor: none } },
    { timeouts: { connect: none, headers: none, idle: none } },
    { retry: { attempts: none, minWait: none, maxWait: none, budget: none } },
    { breaker: { failures: none, openFor: none, maxOpenFor: none } },
    { rateLimit: { reserve: none } },
    { segments: { connections: none, minSize: none } },
  ];
  const ofCache: Partial<ProxyCacheOptions>[] = [
    { memory: { manifests: none, blobs: none, buffers: none } },
    { retention: { unusedFor: none, rules: none, every: none, maxBytes: none, lowWater: none } },
    { retention: { rules: [{ repositories: ['team/*'], unusedFor: none, keep: none, keepLast: none }] } },
    { groups: [{ key: 'all', upstreams: ['up'], library: none, skipFailed: none, pin: none }] },
    { access: { anonymous: none, within: none, audit: none } },
    { admission: { admit: () => ({ allow: true }), version: none, within: none, decisionFor: none } },
  ];

  test.each([
    ...ofUpstream.map((upstream) => [upstream, {}] as const),
    ...ofCache.map((cache) => [{}, cache] as const),
  ])('also inside another: %o %o', async (changed, changes) => {
    const { upstream, cache } = await startPair({ ...changed, cache: changes });
    upstream.addImage('team/app', { tag: '1', layerSizes: [3_000_000, 1_000] });
    const { status } = await pullImage(cache, { path: '/v2/up/team/app', tag: '1' });
    expect(status).toBe(200);
  });

  test('the breaker opens after as many failures', async () => {
    const { upstream, cache } = await startPair({ breaker: { failures: none } });
    upstream.on({}, { status: 500 });
    for (let pulls = 0; pulls < 5; pulls++) await cache.get(`/v2/up/team/app/manifests/${pulls}`);
    expect(cache.cache.upstreams.status()[0]?.state).toBe('open');
    expect(upstream.count({})).toBe(3);
  });
});
