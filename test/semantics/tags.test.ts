import { readdirSync } from 'node:fs';
import { gate } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { digestOfBody, startPair } from './cache-under-test.ts';

const path = '/v2/up/team/app/manifests/1';
const manifests = { method: 'GET', path: /\/manifests\// };
const heads = { method: 'HEAD', path: /\/manifests\// };

test('8: a cold GET is one upstream GET, and its digest is served without asking', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  const cold = await cache.get(path);
  expect(cold.status).toBe(200);
  expect(digestOfBody(cold.body)).toBe(image.root.digest);
  expect(cold.headers['docker-content-digest']).toBe(image.root.digest);
  expect(cold.headers['content-type']).toBe(image.root.mediaType);
  expect(cold.headers['cache-status']).toBe('proxycache; fwd=miss; fwd-status=200; stored');
  const byDigest = await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
  expect(byDigest.body.equals(cold.body)).toBe(true);
  expect(byDigest.headers['cache-status']).toBe('proxycache; hit');
  expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
});

test('8: a cold HEAD is one upstream HEAD, records the tag as known, and moves no body', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1m' });
  const image = upstream.addImage('team/app', { tag: '1' });
  const cold = await cache.head(path);
  expect(cold.status).toBe(200);
  expect(cold.headers['docker-content-digest']).toBe(image.root.digest);
  expect(cold.headers['content-length']).toBe(String(image.root.size));
  expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
  // What containerd does next: the digest, which nobody has here yet.
  const byDigest = await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
  expect(digestOfBody(byDigest.body)).toBe(image.root.digest);
  expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
});

test('8: a tag known by HEAD alone is not served when the upstream fails', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  await cache.head(path);
  await upstream.stop();
  expect((await cache.head(path)).status).toBe(502);
  expect((await cache.get(path)).errorCode).toBe('UNAVAILABLE');
});

test('8: a tag known by HEAD is stored once its manifest came by digest, as containerd and docker pull', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.head(path);
  await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
  await upstream.stop();
  expect((await cache.head(path)).headers['docker-content-digest']).toBe(image.root.digest);
  await cache.restart();
  expect(digestOfBody((await cache.get(path)).body)).toBe(image.root.digest);
});

test('9: within freshFor the upstream is not asked; after it, one HEAD', async () => {
  const { upstream, cache } = await startPair({ freshFor: '10s' });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.clear();
  await cache.clock.advance(9_999);
  const fresh = await cache.get(path);
  expect(fresh.headers['cache-status']).toBe('proxycache; hit');
  expect(fresh.headers['age']).toBe('9');
  expect(upstream.requests).toEqual([]);
  await cache.clock.advance(1);
  const validated = await cache.get(path);
  expect(validated.headers['age']).toBe('0');
  expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD']);
});

test('9: concurrent pulls of a stale tag share one validation', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.clear();
  const answers = await Promise.all(Array.from({ length: 20 }, () => cache.get(path)));
  expect(new Set(answers.map(({ body }) => digestOfBody(body)))).toEqual(new Set([image.root.digest]));
  expect(upstream.count(heads)).toBeLessThan(20);
  expect(upstream.count(manifests)).toBe(0);
});

test('9: a changed tag is fetched, verified and stored before it is announced, to a HEAD too', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1', seed: 'old' });
  await cache.get(path);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
  upstream.clear();
  const head = await cache.head(path);
  expect(head.headers['docker-content-digest']).toBe(changed.root.digest);
  expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  await upstream.stop();
  const got = await cache.get(`/v2/up/team/app/manifests/${changed.root.digest}`);
  expect(digestOfBody(got.body)).toBe(changed.root.digest);
});

test('9: when the changed image cannot be fetched, the old one is served stale and the record stays', async () => {
  const { upstream, cache } = await startPair();
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
  await cache.get(path);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
  upstream.on(manifests, { status: 503 });
  const stale = await cache.get(path);
  expect(stale.status).toBe(200);
  expect(digestOfBody(stale.body)).toBe(old.root.digest);
  expect(stale.headers['warning']).toMatch(/^299 - "stale: up is unavailable/);
  upstream.heal();
  expect(digestOfBody((await cache.get(path)).body)).toBe(changed.root.digest);
});

test('9: wrong bytes of a changed manifest are never served: the old image is', async () => {
  const { upstream, cache } = await startPair();
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
  await cache.get(path);
  upstream.addImage('team/app', { tag: '1', seed: 'new' });
  upstream.on(manifests, { corruptAt: 20 });
  const stale = await cache.get(path);
  expect(digestOfBody(stale.body)).toBe(old.root.digest);
});

test('10: absent upstream is 404 and no image; what was known is kept and comes back with the tag', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.removeTag('team/app', '1');
  const gone = await cache.get(path);
  expect(gone.status).toBe(404);
  expect(gone.errorCode).toBe('MANIFEST_UNKNOWN');
  upstream.tag('team/app', '1', image.root.digest);
  upstream.clear();
  expect((await cache.get(path)).status).toBe(200);
  expect(upstream.count(manifests)).toBe(0);
});

test('10: an absent tag stays refused when the upstream fails afterwards, and also after a restart', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.removeTag('team/app', '1');
  await cache.get(path);
  await upstream.stop();
  expect((await cache.get(path)).status).toBe(502);
  await cache.restart();
  expect((await cache.get(path)).status).toBe(502);
});

test("10: onAbsent 'serve-stale' serves what is stored, and says so", async () => {
  const { upstream, cache } = await startPair({ onAbsent: 'serve-stale' });
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.removeTag('team/app', '1');
  const stale = await cache.get(path);
  expect(digestOfBody(stale.body)).toBe(image.root.digest);
  expect(stale.headers['warning']).toMatch(/has it no longer/);
});

test('10: denied is 403 in our own words, without the challenge of the upstream, for 5 s', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.on({}, { status: 403 });
  const denied = await cache.get(path);
  expect(denied.status).toBe(403);
  expect(denied.errorCode).toBe('DENIED');
  expect(denied.body.toString()).toContain('does not exist or needs other credentials');
  expect(denied.headers['www-authenticate']).toBeUndefined();
  upstream.heal();
  upstream.clear();
  expect((await cache.get(path)).status).toBe(403);
  expect(upstream.requests).toEqual([]);
  await cache.clock.advance(5_000);
  expect((await cache.get(path)).status).toBe(200);
});

test("10: onDenied 'serve-stale' serves what is stored, and says so", async () => {
  const { upstream, cache } = await startPair({ onDenied: 'serve-stale' });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.on({}, { status: 403 });
  const stale = await cache.get(path);
  expect(stale.status).toBe(200);
  expect(stale.headers['warning']).toMatch(/denies it now/);
});

for (const [what, status, code] of [
  ['a server error', 503, 503],
  ['a rate limit', 429, 429],
  ['no connection', undefined, 502],
] as const) {
  test(`10, 11: ${what} serves the stored image with Warning and Age; with nothing stored it is ${code}, never 404`, async () => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1' });
    await cache.get(path);
    await cache.clock.advance(60_000);
    if (status === undefined) await upstream.stop();
    else upstream.on({}, { status, headers: { 'retry-after': '7' } });
    const stale = await cache.get(path);
    expect(digestOfBody(stale.body)).toBe(image.root.digest);
    expect(stale.headers['age']).toBe('60');
    expect(stale.headers['warning']).toMatch(
      new RegExp(`^299 - "stale: up ${status === 429 ? 'limits the rate' : 'is unavailable'}`),
    );
    const nothing = await cache.get('/v2/up/team/app/manifests/2');
    expect(nothing.status).toBe(code);
    if (status !== undefined) expect(Number(nothing.headers['retry-after'])).toBeGreaterThan(0);
  });
}

test('11: an upstream that takes the request and never answers is 504 with nothing stored, stale with a copy', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.clear();
  upstream.on({}, { hang: true });
  const waiting = cache.get(path);
  await expect.poll(() => upstream.count(heads)).toBe(1);
  await cache.clock.advance(2_000);
  expect(digestOfBody((await waiting).body)).toBe(image.root.digest);
  const nothing = cache.get('/v2/up/team/app/manifests/2');
  await expect.poll(() => upstream.count(manifests)).toBe(1);
  await cache.clock.advance(10_000);
  expect((await nothing).status).toBe(504);
});

test('10: staleIfErrorFor bounds for how long', async () => {
  const { upstream, cache } = await startPair({ staleIfErrorFor: '1h' });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  await upstream.stop();
  await cache.clock.advance(3_599_999);
  expect((await cache.get(path)).status).toBe(200);
  await cache.clock.advance(1);
  expect((await cache.get(path)).status).toBe(502);
});

test('10: an image that was removed by digest is still what the tag says: nothing else is served for it', async () => {
  const { upstream, cache } = await startPair({ staleWhileRevalidateFor: '1m' });
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
  await cache.get(path);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
  await cache.clock.advance(30_000);
  const background = await cache.get(path);
  expect(digestOfBody(background.body)).toBe(old.root.digest);
  await expect.poll(async () => digestOfBody((await cache.get(path)).body)).toBe(changed.root.digest);
});

test('12: while the upstream fails, an image that is not here whole loses to the last one that was pulled whole', async () => {
  const { upstream, cache } = await startPair();
  const whole = upstream.addImage('team/app', { tag: '1', seed: 'old', platforms: ['linux/amd64', 'linux/arm64'] });
  await cache.get(path);
  const child = whole.manifests[0]!;
  await cache.get(`/v2/up/team/app/manifests/${child.digest}`);
  for (const blob of [whole.config, ...whole.layers]) await cache.get(`/v2/up/team/app/blobs/${blob.digest}`);
  await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new', platforms: ['linux/amd64', 'linux/arm64'] });
  expect(digestOfBody((await cache.get(path)).body)).toBe(changed.root.digest);
  await upstream.stop();
  const stale = await cache.get(path);
  expect(digestOfBody(stale.body)).toBe(whole.root.digest);
  expect(stale.headers['warning']).toMatch(/^299 - "stale:/);
  expect((await cache.head(path)).headers['docker-content-digest']).toBe(whole.root.digest);
});

test('12: an index of which only the attestation is here does not count as pulled whole', async () => {
  const { upstream, cache } = await startPair();
  const platforms = ['linux/amd64', 'unknown/unknown'];
  const pull = async (manifest: string | undefined, blobs: readonly { digest: string }[]) => {
    await cache.get(path);
    await cache.get(`/v2/up/team/app/manifests/${manifest}`);
    for (const { digest } of blobs) await cache.get(`/v2/up/team/app/blobs/${digest}`);
    await expect.poll(() => cache.seen('ingest-ended').length).toBeGreaterThanOrEqual(blobs.length);
  };
  const whole = upstream.addImage('team/app', { tag: '1', seed: 'old', platforms });
  await pull(whole.manifests[0]?.digest, [whole.config, ...whole.layers]);
  await expect.poll(() => cache.cache.has('up/team/app:1')).toBe(true);
  // Who looks at where an image comes from reads no more of it.
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new', platforms });
  const [image, attestation] = changed.manifests;
  const ofAttestation = changed.blobs.slice(1 + changed.layers.length);
  cache.events.length = 0;
  await pull(attestation?.digest, ofAttestation);
  expect(await cache.cache.has(`up/team/app@${attestation?.digest}`)).toBe(true);
  expect(await cache.cache.has(`up/team/app@${changed.root.digest}`)).toBe(false);
  await upstream.stop();
  expect((await cache.get(path)).headers['docker-content-digest']).toBe(whole.root.digest);
  expect((await cache.get(`/v2/up/team/app/manifests/${image?.digest}`)).status).toBe(502);
});

test('13: a clock that stepped back makes nothing fresh for longer than freshFor', async () => {
  const { upstream, cache } = await startPair({ freshFor: '10s' });
  upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  upstream.clear();
  cache.clock.set(cache.clock.now() - 3_600_000);
  await cache.get(path);
  expect(upstream.count(heads)).toBe(1);
});

test('14: absent is remembered for absentFor', async () => {
  const { upstream, cache } = await startPair({ absentFor: '10s' });
  upstream.addImage('team/app', { tag: '2' });
  expect((await cache.get(path)).status).toBe(404);
  upstream.clear();
  expect((await cache.get(path)).status).toBe(404);
  expect(upstream.requests).toEqual([]);
  await cache.clock.advance(10_000);
  upstream.addImage('team/app', { tag: '1' });
  expect((await cache.get(path)).status).toBe(200);
});

test('everything that is stored is served after a restart with the upstream down', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get(path);
  for (const blob of image.blobs) await cache.get(`/v2/up/team/app/blobs/${blob.digest}`);
  await upstream.stop();
  await cache.restart();
  expect((await cache.get(path)).status).toBe(200);
  expect((await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`)).headers['cache-status']).toBe(
    'proxycache; hit',
  );
  for (const blob of image.blobs) {
    const got = await cache.get(`/v2/up/team/app/blobs/${blob.digest}`);
    expect(digestOfBody(got.body)).toBe(blob.digest);
    expect(got.headers['cache-status']).toBe('proxycache; hit');
  }
});

test('19: what a tag stood for under another credential or URL is not served: neither stale nor fresh, nor listed', async () => {
  const { upstream, cache } = await startPair({
    freshFor: '1h',
    auth: { username: 'alice', password: 'a' },
    fake: { auth: { basic: { username: 'alice', password: 'a' } } },
  });
  upstream.addImage('team/app', { tag: '1' });
  expect((await cache.get(path)).status).toBe(200);
  await upstream.stop();
  await cache.restart({ upstreams: [{ key: 'up', url: upstream.url, freshFor: '1h' }] });
  expect((await cache.get(path)).status).toBe(502);
  expect((await cache.head(path)).status).toBe(502);
  expect((await cache.get('/v2/up/team/app/tags/list')).status).toBe(502);
});

test('32: with a copy stored, a changed image that comes slowly costs validateWithin at most, and is there for the next', async () => {
  const { upstream, cache } = await startPair();
  const old = upstream.addImage('team/app', { tag: '1', seed: 'old' });
  await cache.get(path);
  const changed = upstream.addImage('team/app', { tag: '1', seed: 'new' });
  const held = gate();
  upstream.on(manifests, { gate: held });
  const waiting = cache.get(path);
  await held.reached;
  await cache.clock.advance(2_000);
  const stale = await waiting;
  expect(digestOfBody(stale.body)).toBe(old.root.digest);
  expect(stale.headers['warning']).toMatch(/^299 - "stale:/);
  held.open();
  await expect.poll(async () => digestOfBody((await cache.get(path)).body)).toBe(changed.root.digest);
  expect(upstream.count(manifests)).toBe(2);
});

test('tags that do not exist leave no file behind, whoever asks for how many', async () => {
  const { upstream, cache } = await startPair();
  upstream.addImage('team/app', { tag: '1' });
  const files = () => readdirSync(cache.directory, { recursive: true }).length;
  const before = files();
  for (let i = 0; i < 20; i++) expect((await cache.get(`/v2/up/team/app/manifests/none-${i}`)).status).toBe(404);
  const subject = `sha256:${'0'.repeat(64)}`;
  expect((await cache.get(`/v2/up/team/app/referrers/${subject}`)).status).toBe(200);
  expect(files()).toBe(before);
});

test('a digest that is here as a large blob is not read for a repository that proved nothing', async () => {
  const { upstream, cache } = await startPair({ maxManifestBytes: 64 * 1024 });
  const { layers } = upstream.addImage('team/app', { tag: '1', layerSizes: [128 * 1024] });
  const digest = layers[0]!.digest;
  await cache.get(`/v2/up/team/app/blobs/${digest}`);
  await expect
    .poll(async () => (await cache.head(`/v2/up/team/app/blobs/${digest}`)).headers['cache-status'])
    .toBe('proxycache; hit');
  upstream.clear();
  expect((await cache.get(`/v2/up/team/other/manifests/${digest}`)).status).toBe(404);
  expect(upstream.count(manifests)).toBeGreaterThan(0);
});
