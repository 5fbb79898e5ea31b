import type { UpstreamOptions } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, startPair } from './cache-under-test.ts';
import { clientStyles, pullImage } from './pull-image.ts';
import type { Got } from './request.ts';

const byTag = '/v2/up/team/app/manifests/1';
const at = { path: '/v2/up/team/app', tag: '1' };
const platforms = ['linux/amd64', 'linux/arm64'];
const digestOf = (got: Got) => got.headers['docker-content-digest'];
const use = ({ cache }: CacheUnderTest, mode: UpstreamOptions['mode']) => cache.upstreams.update('up', { mode });

/** A cache that has all of the old image of a tag, and of the new one the index alone: somebody has looked what it is. */
async function startMoved(options: Partial<UpstreamOptions> = {}) {
  const { upstream, cache } = await startPair(options);
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old', platforms });
  await pullImage(cache, at, 'get-by-tag');
  await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new', platforms });
  await cache.clock.advance(2 * 3_600_000);
  expect(digestOf(await cache.get(byTag))).toBe(changed.root.digest);
  return { upstream, cache, old: old.root.digest, changed: changed.root.digest };
}

type Moved = Awaited<ReturnType<typeof startMoved>>;

function goAway({ upstream }: Moved): void {
  upstream.on({}, { drop: 'rst' });
}

/** Somebody pulls what is not here, so that the breaker opens. */
async function untilOpen({ cache }: Moved): Promise<void> {
  expect((await cache.get('/v2/up/team/other/manifests/1')).status).toBe(502);
  expect(cache.cache.upstreams.status()).toMatchObject([{ state: 'open' }]);
}

const rows: readonly [string, Partial<UpstreamOptions>, (moved: Moved) => Promise<unknown>][] = [
  ['is away', {}, async (moved) => goAway(moved)],
  [
    'is known to be away while the tag is fresh',
    { freshFor: '1h', breaker: { failures: 1 } },
    async (moved) => {
      goAway(moved);
      await untilOpen(moved);
    },
  ],
  [
    'is tried again while the tag is fresh',
    { freshFor: '1h', breaker: { failures: 1 } },
    async (moved) => {
      goAway(moved);
      await untilOpen(moved);
      await moved.cache.clock.advance(2_000);
      expect(moved.cache.cache.upstreams.status()).toMatchObject([{ state: 'half-open' }]);
    },
  ],
  [
    'is known to be away, and local-first',
    { breaker: { failures: 1 } },
    async (moved) => {
      await use(moved.cache, 'local-first');
      goAway(moved);
      await untilOpen(moved);
    },
  ],
  ['was set to offline while the tag is fresh', { freshFor: '1h' }, ({ cache }) => use(cache, 'offline')],
];

describe('12: the last image of a tag that was pulled whole is what the tag gives while its upstream', () => {
  test.each(rows)('%s', async (_name, options, lose) => {
    const moved = await startMoved(options);
    const { cache, old } = moved;
    await lose(moved);
    expect(await cache.cache.has('up/team/app:1')).toBe(true);
    for (const style of clientStyles) {
      const pulled = await pullImage(cache, at, style);
      expect([pulled.status, pulled.digest]).toEqual([200, old]);
      expect(pulled.first.headers['warning']).toMatch(/^299 - "stale: up is /);
      expect(pulled.first.headers['cache-status']).toContain('detail=stale-failed');
    }
    expect(await cache.cache.resolve('up/team/app:1')).toMatchObject({ digest: old });
  });
});

describe('12: of a fresh tag whose upstream is away', () => {
  const fresh = { freshFor: '1h', breaker: { failures: 1 } } as const;

  test('the new image is served until what is not here of it was asked for in vain', async () => {
    const moved = await startMoved(fresh);
    const { cache, old, changed } = moved;
    goAway(moved);
    const first = await pullImage(cache, at);
    expect([first.status, digestOf(first.first)]).toEqual([502, changed]);
    const again = await pullImage(cache, at);
    expect([again.status, again.digest]).toEqual([200, old]);
  });

  test('the new image is served, without a warning or a question, where it is here whole', async () => {
    const moved = await startMoved(fresh);
    const { upstream, cache, changed } = moved;
    expect((await pullImage(cache, at)).status).toBe(200);
    await expect.poll(() => cache.cache.has(`up/team/app@${changed}`)).toBe(true);
    goAway(moved);
    await untilOpen(moved);
    upstream.clear();
    const pulled = await pullImage(cache, at);
    expect([pulled.status, pulled.digest, pulled.first.headers['warning']]).toEqual([200, changed, undefined]);
    expect(pulled.first.headers['cache-status']).toBe('proxycache; hit');
    expect(upstream.requests).toEqual([]);
  });

  test('the new image is served again once the upstream is back, without another question about the tag', async () => {
    const moved = await startMoved(fresh);
    const { upstream, cache, old, changed } = moved;
    goAway(moved);
    await untilOpen(moved);
    expect(digestOf(await cache.get(byTag))).toBe(old);
    upstream.heal();
    upstream.clear();
    await cache.clock.advance(2_000);
    expect((await cache.get('/v2/up/team/other/manifests/1')).status).toBe(404);
    const pulled = await pullImage(cache, at);
    expect([pulled.status, pulled.digest, pulled.first.headers['warning']]).toEqual([200, changed, undefined]);
    expect(upstream.count({ path: /team\/app\/manifests\/1$/ })).toBe(0);
  });
});
