import { createProxyCache, memoryStorage, type ProxyCache, type UpstreamOptions } from '@proxycache/core';
import { type FakeUpstream, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

let registry: FakeUpstream;
let cache: ProxyCache;

function makeCache(options: Partial<UpstreamOptions> = {}): void {
  const corp = { key: 'corp', url: registry.url, ...options };
  cache = createProxyCache({ upstreams: [corp], storage: memoryStorage() });
}

beforeEach(async () => {
  registry = await startFakeUpstream();
});
afterEach(async () => {
  await cache.close({ graceMs: 0 });
  await registry.stop();
});

describe('an upstream is checked', () => {
  test('by its key, as it is set up', async () => {
    makeCache({ auth: { username: 'ann', password: 'a' } });
    registry.change({ auth: { basic: { username: 'ann', password: 'a' } } });
    expect(await cache.upstreams.check('corp')).toMatchObject({ upstream: 'corp', ok: true });
  });

  test('before it is one, by its options', async () => {
    makeCache();
    const found = await cache.upstreams.check({ key: 'new', url: 'http://127.0.0.1:9' });
    expect(found).toMatchObject({ upstream: 'new', ok: false, endpoints: [{ ok: false, reason: 'refused' }] });
    expect(cache.upstreams.status().map(({ key }) => key)).toEqual(['corp']);
  });

  test('although pulls leave it alone, and changes nothing for them', async () => {
    makeCache({ breaker: { failures: 1, openFor: '1h', maxOpenFor: '1h' }, retry: { attempts: 1 } });
    registry.on({ path: /manifests/ }, { status: 503 });
    await expect(cache.resolve('corp/app:1')).rejects.toMatchObject({ code: 'server-error' });
    expect(cache.upstreams.status()).toMatchObject([{ state: 'open' }]);
    expect(await cache.upstreams.check('corp')).toMatchObject({ ok: true });
    expect(cache.upstreams.status()).toMatchObject([{ state: 'open' }]);
  });

  test('only if it can be: a key of none and options that cannot be are refused by name', async () => {
    makeCache();
    await expect(cache.upstreams.check('corq')).rejects.toThrow('"corq" is no upstream\'s key');
    await expect(cache.upstreams.check({ key: 'new', url: 'docker.io' })).rejects.toThrow('upstream.url: expected');
    await expect(cache.upstreams.check(7 as never)).rejects.toMatchObject({ code: 'invalid-options' });
  });

  test('until the one who asked has enough of it, or the cache is closed', async () => {
    makeCache();
    registry.serve('/v2/', () => new Promise(() => undefined));
    const enough = new AbortController();
    const asked = cache.upstreams.check('corp', { signal: enough.signal });
    await expect.poll(() => registry.requests.length).toBe(1);
    enough.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
    await cache.close();
    await expect(cache.upstreams.check('corp')).rejects.toMatchObject({ code: 'closed' });
  });
});
