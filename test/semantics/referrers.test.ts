import { memoryStorage } from '@proxycache/core';
import { flakyStore, htmlPage, jsonAnswer } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startCache, startPair } from './cache-under-test.ts';
import type { Got } from './request.ts';

const json = (got: Got) => JSON.parse(got.body.toString());

describe('31: referrers', () => {
  async function startSigned(options: Parameters<typeof startPair>[0] = {}) {
    const { upstream, cache } = await startPair(options);
    const image = upstream.addImage('team/app', { tag: '1' });
    const attach = (artifactType: string) =>
      upstream.addReferrer('team/app', { subject: image.root, artifactType, fallbackTag: true });
    const [signature, sbom] = [attach('application/signature'), attach('application/sbom')];
    return { upstream, cache, image, signature, sbom, attach, list: `/v2/up/team/app/referrers/${image.root.digest}` };
  }

  const digestsOf = (got: Got) => new Set(json(got).manifests.map(({ digest }: { digest: string }) => digest));

  test('an image index of all that refers to the subject', async () => {
    const { cache, list, signature, sbom } = await startSigned();
    const got = await cache.get(list);
    expect([got.status, got.headers['content-type']]).toEqual([200, 'application/vnd.oci.image.index.v1+json']);
    expect(json(got)).toMatchObject({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' });
    expect(digestsOf(got)).toEqual(new Set([signature.digest, sbom.digest]));
    expect(got.headers['oci-filters-applied']).toBeUndefined();
  });

  test('filtered by us, from one stored list', async () => {
    const { upstream, cache, list, signature } = await startSigned({ freshFor: '1m' });
    const filter = `?artifactType=${encodeURIComponent('application/signature')}`;
    const got = await cache.get(`${list}${filter}`);
    expect(digestsOf(got)).toEqual(new Set([signature.digest]));
    expect(got.headers['oci-filters-applied']).toBe('artifactType');
    expect(upstream.requests.map(({ query }) => query.size)).toEqual([0]);
    const none = await cache.get(`${list}?artifactType=application%2Fother`);
    expect([none.headers['oci-filters-applied'], digestsOf(none).size]).toEqual(['artifactType', 0]);
    expect(digestsOf(await cache.get(list)).size).toBe(2);
    expect(upstream.requests).toHaveLength(1);
  });

  test('they change, so they are asked for again, and concurrent requests share that', async () => {
    const { upstream, cache, list, attach } = await startSigned();
    await cache.get(list);
    const added = attach('application/late');
    expect(digestsOf(await cache.get(list)).has(added.digest)).toBe(true);
    upstream.clear();
    await Promise.all(Array.from({ length: 10 }, () => cache.get(list)));
    expect(upstream.requests.length).toBeLessThan(10);
  });

  test('the tag schema where the API is missing', async () => {
    const { upstream, cache, list, signature, sbom } = await startSigned({ fake: { referrers: false } });
    expect(digestsOf(await cache.get(list))).toEqual(new Set([signature.digest, sbom.digest]));
    upstream.clear();
    await cache.get(list);
    expect(upstream.count({ path: /\/referrers\// })).toBe(0);
  });

  test('an empty list only where both say none', async () => {
    const { upstream, cache } = await startPair({ fake: { referrers: false } });
    const image = upstream.addImage('team/app', { tag: '1' });
    const list = `/v2/up/team/app/referrers/${image.root.digest}`;
    expect(json(await cache.get(list)).manifests).toEqual([]);
    upstream.on({ path: /manifests\/sha256-/ }, { status: 500 });
    const other = await startCache({ upstreams: [{ key: 'up', url: upstream.url }] });
    expect((await other.get(list)).status).toBe(503);
  });

  test.each([
    ['no connection', undefined, 502],
    ['503', { status: 503 }, 503],
    ['429', { status: 429 }, 429],
    ['a web page', htmlPage(200, 'Sign in'), 502],
    ['an index with something else in it', jsonAnswer(200, { manifests: [{ digest: 'x' }] }), 502],
  ] as const)(
    'failed (%s) is the stored list with a warning, or an error, never an empty list',
    async (_what, fault, status) => {
      const { upstream, cache, image, list, signature, sbom } = await startSigned();
      await cache.get(list);
      if (fault) upstream.on({}, fault);
      else await upstream.stop();
      for (const restart of [false, true]) {
        if (restart) await cache.restart();
        const stale = await cache.get(list);
        expect(digestsOf(stale)).toEqual(new Set([signature.digest, sbom.digest]));
        expect(stale.headers['warning']).toMatch(/^299 - "stale: up is unavailable/);
      }
      const nothing = await cache.get(`/v2/up/team/app/referrers/${image.config.digest}`);
      expect(nothing.status).toBe(status);
      expect(json(nothing).manifests).toBeUndefined();
    },
  );

  test('denied is 403, absent is 404: neither is an empty list', async () => {
    const { upstream, cache, list } = await startSigned();
    await cache.get(list);
    upstream.on({}, { status: 403 });
    const denied = await cache.get(list);
    expect([denied.status, denied.errorCode]).toEqual([403, 'DENIED']);
    upstream.heal();
    await cache.clock.advance(5_000);
    upstream.removeRepository('team/app');
    const gone = await cache.get(list);
    expect([gone.status, gone.errorCode]).toEqual([404, 'NAME_UNKNOWN']);
    await upstream.stop();
    expect((await cache.get(list)).status).toBe(502);
  });

  test('a store that fails costs no list', async () => {
    const storage = flakyStore(memoryStorage());
    const { cache, list } = await startSigned({ cache: { storage } });
    for (const operation of ['metadata.get', 'metadata.set'] as const) storage.on(operation, { fail: 'disk gone' });
    expect(digestsOf(await cache.get(list)).size).toBe(2);
    expect(cache.seen('store-failed').length).toBeGreaterThan(0);
  });
});
