import { type FakeUpstream, gate, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startCache, startUpstream } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';

const MiB = 1024 * 1024;
// Each request to an upstream that is down finds it down.
const breaker = { failures: 1000 };
const ann = as('ann');
const bob = as('bob');

/** Two registries with a private image that ann may pull, and public ones that bob may pull as well. */
async function startShared() {
  const [up, other] = [await startUpstream(), await startUpstream()];
  const image = up.addImage('private/app', { tag: '1', layerSizes: [3 * MiB, 1024], seed: 'private' });
  for (const upstream of [up, other]) upstream.addImage('public/app', { tag: '1', seed: 'public' });
  const cache = await startCache({
    upstreams: [
      { key: 'up', url: up.url, breaker },
      { key: 'other', url: other.url, breaker },
    ],
    catalog: true,
    access: {
      authenticate,
      authorize: ({ identity, repository }) =>
        identity?.name === 'ann' ||
        repository.startsWith('public/') || { allow: false, reason: `${repository} is not for everybody` },
    },
  });
  return { up, other, cache, image };
}

type Shared = Awaited<ReturnType<typeof startShared>>;

const path = (repository: string, rest: string) => `/v2/${repository}/${rest}`;

/** What the image is asked for by. */
const partsOf = ({ image }: Shared) => [
  'manifests/1',
  `manifests/${image.root.digest}`,
  ...image.blobs.map(({ digest }) => `blobs/${digest}`),
];

async function pullWhole(cache: CacheUnderTest, parts: readonly string[]): Promise<void> {
  for (const part of parts) expect((await cache.get(path('up/private/app', part), ann)).status).toBe(200);
  await expect.poll(() => cache.seen('ingest-ended').length).toBeGreaterThanOrEqual(3);
}

/** Nothing of the image, nor of what it is called, by whatever bob asks for it in its own repository. */
async function expectRefused(shared: Shared): Promise<void> {
  const { cache, image } = shared;
  const questions = [...partsOf(shared), 'tags/list', `referrers/${image.root.digest}`];
  for (const question of questions) {
    for (const extra of [{}, { range: 'bytes=0-9' }, { 'if-none-match': '*' }]) {
      const headers = { ...bob.headers, ...extra };
      const got = await cache.get(path('up/private/app', question), { headers });
      expect([question, got.status, got.errorCode]).toEqual([question, 403, 'DENIED']);
      expect(got.body.toString()).toContain('private/app is not for everybody');
      const head = await cache.head(path('up/private/app', question), { headers });
      expect([head.status, head.headers['docker-content-digest']]).toEqual([403, undefined]);
    }
    expect((await cache.get(path('up/private/app', question))).status).toBe(401);
  }
  const catalog = await cache.get('/v2/_catalog', bob);
  expect(catalog.body.toString()).not.toContain('private');
}

/** Nor by its digests in a repository that is open to bob and does not have them. */
async function expectNotElsewhere(shared: Shared, statuses: readonly number[]): Promise<void> {
  for (const repository of ['up/public/app', 'other/public/app']) {
    for (const part of partsOf(shared).slice(1)) {
      for (const extra of [{}, { range: 'bytes=0-9' }]) {
        const got = await shared.cache.get(path(repository, part), { headers: { ...bob.headers, ...extra } });
        expect(statuses, `${repository} ${part}`).toContain(got.status);
        expect(got.body.length).toBeLessThan(1000);
      }
    }
  }
}

describe('a private image that somebody pulled is not readable without the right', () => {
  test('by tag, by digest, by blob, in part, in lists, and without asking its upstream', async () => {
    const shared = await startShared();
    await pullWhole(shared.cache, partsOf(shared));
    const before = shared.up.count({});
    await expectRefused(shared);
    expect(shared.up.count({})).toBe(before);
  });

  test('through another repository, of its own or of another upstream', async () => {
    const shared = await startShared();
    await pullWhole(shared.cache, partsOf(shared));
    await expectNotElsewhere(shared, [404]);
  });

  test('with the upstream stopped, while the one who may goes on reading it', async () => {
    const shared = await startShared();
    await pullWhole(shared.cache, partsOf(shared));
    for (const upstream of [shared.up, shared.other]) upstream.on({}, { drop: 'rst' });
    await expectRefused(shared);
    await expectNotElsewhere(shared, [502, 503]);
    for (const part of partsOf(shared)) {
      expect((await shared.cache.get(path('up/private/app', part), ann)).status).toBe(200);
    }
  });

  test('while it is being brought in', async () => {
    const shared = await startShared();
    const { cache, up, image } = shared;
    const layer = image.layers[0]!;
    const held = gate();
    up.on({ method: 'GET', path: `/v2/private/app/blobs/${layer.digest}` }, { gate: held });
    const pulling = cache.get(path('up/private/app', `blobs/${layer.digest}`), ann);
    await held.reached;
    const reading = new AbortController();
    const second = cache.get(path('up/private/app', `blobs/${layer.digest}`), { ...ann, signal: reading.signal });
    await expectRefused(shared);
    await expectNotElsewhere(shared, [404]);
    held.open();
    for (const got of [await pulling, await second]) {
      expect(got.body.equals(Buffer.from(seededBytes('private linux/amd64 0', layer.size)))).toBe(true);
    }
    expect(up.count({ method: 'GET', path: `/v2/private/app/blobs/${layer.digest}` })).toBe(1);
    await expectRefused(shared);
  });

  test('after a restart, from what the store kept', async () => {
    const shared = await startShared();
    await pullWhole(shared.cache, partsOf(shared));
    await shared.cache.restart();
    await expectRefused(shared);
    await expectNotElsewhere(shared, [404]);
  });
});

test('a pull that was denied leaves the next one of somebody else as it would have been', async () => {
  const [quiet, asked] = [await startShared(), await startShared()];
  await expectRefused(asked);
  const answers = async ({ cache, up }: Shared, parts: readonly string[]) => {
    const got = [];
    for (const part of parts) {
      const { status, headers, body } = await cache.get(path('up/private/app', part), ann);
      const { date, connection, 'keep-alive': _, ...rest } = headers;
      got.push({ part, status, rest, body: digestOfBody(body), asked: countOf(up) });
    }
    return got;
  };
  expect(await answers(asked, partsOf(asked))).toEqual(await answers(quiet, partsOf(quiet)));
  await expectRefused(asked);
  // Now all of it is stored.
  expect(await answers(asked, partsOf(asked))).toEqual(await answers(quiet, partsOf(quiet)));
});

test('whoever is denied has no part in what others collapse', async () => {
  const shared = await startShared();
  const { cache, up } = shared;
  const held = gate();
  up.on({ path: /manifests/ }, { gate: held });
  const allowed = [1, 2, 3].map(() => cache.get(path('up/private/app', 'manifests/1'), ann));
  await held.reached;
  expect((await cache.get(path('up/private/app', 'manifests/1'), bob)).status).toBe(403);
  await expect.poll(() => cache.seen('pull')).toHaveLength(1);
  held.open();
  for (const got of await Promise.all(allowed)) expect(got.status).toBe(200);
  expect(up.count({ method: 'GET', path: /manifests/ })).toBe(1);
});

const countOf = (upstream: FakeUpstream) => upstream.count({});
