import { type FakeUpstream, gate, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startUpstream } from '../semantics/cache-under-test.ts';

const size = 3 * 1024 * 1024;

/** How those who lack the content come to ask: another repository of the same upstream, or of another one. */
const askers = ['another repository', 'another upstream'] as const;
/** What becomes of the question. */
const words = {
  absent: { fault: undefined, status: [404] },
  denied: { fault: { status: 403 }, status: [403] },
  'server error': { fault: { status: 500 }, status: [503] },
  'no connection': { fault: { drop: 'rst' as const }, status: [502] },
};
const kinds = ['blobs', 'manifests'] as const;
const matrix = kinds.flatMap((kind) =>
  askers.flatMap((asker) => (Object.keys(words) as (keyof typeof words)[]).map((word) => [kind, asker, word] as const)),
);

interface Scene {
  cache: CacheUnderTest;
  /** Where the content is. */
  owner: FakeUpstream;
  /** Where those who lack it ask. */
  asked: FakeUpstream;
  digest: string;
  ownPath: string;
  foreignPath: string;
}

async function scene(kind: (typeof kinds)[number], asker: (typeof askers)[number]): Promise<Scene> {
  const [one, two] = [await startUpstream(), await startUpstream()];
  const cache = await startCache({
    upstreams: [
      // How often it is asked in vain is not what these are about.
      { key: 'one', url: one.url, breaker: { failures: 1_000 } },
      { key: 'two', url: two.url, breaker: { failures: 1_000 } },
    ],
  });
  const digest =
    kind === 'blobs'
      ? one.putBlob('team/app', seededBytes('secret', size))
      : one.addImage('team/app', { tag: '1', seed: 'secret' }).root.digest;
  for (const upstream of [one, two]) upstream.putBlob('other/app', 'something else');
  const asked = asker === 'another upstream' ? two : one;
  const ownPath = `/v2/one/team/app/${kind}/${digest}`;
  const foreignPath = `/v2/${asked === two ? 'two' : 'one'}/other/app/${kind}/${digest}`;
  return { cache, owner: one, asked, digest, ownPath, foreignPath };
}

/** Nothing of it is told to those whose repository lacks it, by any method. */
async function expectRefused({ cache, asked, foreignPath, digest }: Scene, word: keyof typeof words): Promise<void> {
  const { fault, status } = words[word];
  if (fault) asked.on({ path: /^\/v2\/other\/app\// }, fault);
  const answers = [
    await cache.get(foreignPath),
    await cache.head(foreignPath),
    await cache.get(foreignPath, { headers: { range: 'bytes=0-9' } }),
    await cache.get(foreignPath, { headers: { range: 'bytes=10-' } }),
    await cache.get(foreignPath, { headers: { 'if-none-match': `"${digest}"` } }),
  ];
  for (const got of answers) {
    expect(status).toContain(got.status);
    expect(got.body.byteLength).toBeLessThan(500);
    expect(got.headers['docker-content-digest']).toBeUndefined();
    expect(got.headers['etag']).toBeUndefined();
  }
}

describe.each(matrix)('content (%s) is not readable through %s that lacks it: %s', (kind, asker, word) => {
  test('while it is stored', async () => {
    const given = await scene(kind, asker);
    const { cache, owner, ownPath, digest } = given;
    expect(digestOfBody((await cache.get(ownPath)).body)).toBe(digest);
    if (kind === 'blobs') await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
    await expectRefused(given, word);
    await owner.stop();
    const kept = await cache.get(ownPath);
    expect([kept.status, kept.headers['cache-status'], digestOfBody(kept.body)]).toEqual([
      200,
      'proxycache; hit',
      digest,
    ]);
  });

  test('while it comes in', async () => {
    const given = await scene(kind, asker);
    const { cache, owner, ownPath, digest } = given;
    const held = gate();
    owner.on({ method: 'GET', path: /^\/v2\/team\/app\// }, { gate: held });
    const first = cache.get(ownPath);
    await held.reached;
    await expectRefused(given, word);
    held.open();
    const got = await first;
    expect([got.status, digestOfBody(got.body)]).toEqual([200, digest]);
    await expectRefused(given, word);
  });

  test('after a restart', async () => {
    const given = await scene(kind, asker);
    const { cache, ownPath, digest } = given;
    await cache.get(ownPath);
    await cache.restart();
    await expectRefused(given, word);
    expect(digestOfBody((await cache.get(ownPath)).body)).toBe(digest);
  });
});

test('a tag of another repository leads to no bytes of this one', async () => {
  const { cache, asked } = await scene('manifests', 'another repository');
  await cache.get('/v2/one/team/app/manifests/1');
  expect((await cache.get('/v2/one/other/app/manifests/1')).status).toBe(404);
  asked.on({ path: /^\/v2\/other\/app\// }, { status: 500 });
  expect((await cache.get('/v2/one/other/app/manifests/1')).status).toBe(503);
});
