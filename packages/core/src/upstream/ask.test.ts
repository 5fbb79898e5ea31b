import { inspect } from 'node:util';
import {
  absentDigest,
  type FakeUpstream,
  gate,
  htmlPage,
  type ManualClock,
  manualClock,
  ociError,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '../oci/media-type.ts';
import { upstreamSettings } from '../options.ts';
import { discard } from '../runtime/bytes.ts';
import { createClient } from './client.ts';
import type { UpstreamEvent } from './events.ts';
import type { Upstream } from './upstream.ts';

const repository = 'library/alpine';
const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

let clock: ManualClock;
let registry: FakeUpstream;
let upstream: Upstream;
let events: UpstreamEvent[];

beforeEach(async () => {
  clock = manualClock();
  events = [];
  registry = await startFakeUpstream();
  const settings = upstreamSettings({ key: 'hub', url: registry.url });
  upstream = createClient(settings, { clock, observe: (event) => events.push(event) });
});
afterEach(async () => {
  await upstream.close();
  await registry.stop();
});

const fetchTag = (scope = '-') => upstream.fetchManifest({ ...query, scope, reference: { kind: 'tag', tag: '3' } });
const manifests = /\/manifests\//;

describe('429', () => {
  it('is remembered per kind of request and credential, and asked again when it said', async () => {
    const { layers } = registry.addImage(repository, { tag: '3' });
    registry.on({ path: manifests, method: 'GET', times: 1 }, { status: 429, headers: { 'retry-after': '120' } });
    const limited = { code: 'rate-limited', status: 429, retryAt: clock.now() + 120_000 };
    await expect(fetchTag()).rejects.toMatchObject(limited);
    await expect(fetchTag()).rejects.toMatchObject(limited);
    expect(registry.count()).toBe(1);
    expect(await upstream.resolve({ ...query, tag: '3' })).toMatchObject({ kind: 'found' });
    const blob = await upstream.fetchBlob({ ...query, digest: layers[0]!.digest, from: 0 });
    if (blob.kind === 'found') await discard(blob.value.body);
    expect(await fetchTag('bob')).toMatchObject({ kind: 'found' });
    await clock.advance(120_000);
    expect(await fetchTag()).toMatchObject({ kind: 'found' });
  });

  it('backs off 60 s doubling to 15 min where no time is said, and starts anew after an answer', async () => {
    registry.addImage(repository, { tag: '3' });
    const heal = registry.on({ path: manifests }, { status: 429 });
    const wait = async () => {
      const error = (await fetchTag().catch((thrown: unknown) => thrown)) as { retryAt: number };
      const ms = error.retryAt - clock.now();
      await clock.advance(ms);
      return ms / 1_000;
    };
    expect([await wait(), await wait(), await wait(), await wait(), await wait()]).toEqual([60, 120, 240, 480, 900]);
    heal();
    await fetchTag();
    registry.on({ path: manifests }, { status: 429 });
    expect(await wait()).toBe(60);
  });

  it.each([
    ['an answer', 404],
    ['a redirect', 307],
  ])('was not forgotten over %s to what was under way when it came', async (_what, status) => {
    registry.addImage(repository, { tag: '3' });
    const held = gate();
    const location = `${registry.url}/v2/${repository}/manifests/3`;
    registry.on({ path: /\/manifests\/slow/ }, { gate: held, status, headers: { location } });
    const heal = registry.on({ path: /\/manifests\/3/ }, { status: 429, headers: { 'retry-after': '60' } });
    const slow = upstream.fetchManifest({ ...query, reference: { kind: 'tag', tag: 'slow' } }).catch(() => undefined);
    await held.reached;
    const limited = { code: 'rate-limited', retryAt: clock.now() + 60_000 };
    await expect(fetchTag()).rejects.toMatchObject(limited);
    heal();
    held.open();
    await slow;
    await expect(fetchTag()).rejects.toMatchObject(limited);
    expect(registry.count()).toBe(2);
    await clock.advance(60_000);
    expect(await fetchTag()).toMatchObject({ kind: 'found' });
  });

  it('to several requests that were under way together doubled the wait for each of them', async () => {
    registry.addImage(repository, { tag: '3' });
    const held = gate();
    registry.on({ path: manifests, method: 'GET' }, { status: 429 });
    const holding = registry.on({ path: manifests, method: 'GET' }, { gate: held });
    const all = Promise.all([1, 2, 3, 4].map(() => fetchTag().catch((error: unknown) => error)));
    await held.reachedBy(4);
    holding();
    held.open();
    const limited = { code: 'rate-limited', retryAt: clock.now() + 60_000 };
    expect(await all).toMatchObject([limited, limited, limited, limited]);
    await clock.advance(60_000);
    await expect(fetchTag()).rejects.toMatchObject({ retryAt: clock.now() + 120_000 });
  });

  it('in words under another status is a rate limit all the same', async () => {
    registry.on({ path: manifests }, ociError(403, 'TOOMANYREQUESTS', 'You have reached your pull rate limit'));
    await expect(fetchTag()).rejects.toMatchObject({ code: 'rate-limited' });
  });
});

describe('a failure', () => {
  it('of the server keeps its status and its Retry-After', async () => {
    registry.on({ path: manifests }, { status: 503, headers: { 'retry-after': '30' } });
    await expect(fetchTag()).rejects.toMatchObject({
      code: 'server-error',
      status: 503,
      retryAt: clock.now() + 30_000,
      upstream: 'hub',
      message: 'hub answered 503 for library/alpine:3',
    });
  });

  it.each([408, 425])('is %i: ask again, after Retry-After where it has one', async (status) => {
    registry.on({ path: manifests }, { status, headers: { 'retry-after': '2' } });
    const expected = { code: 'server-error', status, retryAt: clock.now() + 2_000 };
    await expect(fetchTag()).rejects.toMatchObject(expected);
    await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject(expected);
  });

  it.each([204, 206, 300, 304, 405])('is a status that means nothing here: %i', async (status) => {
    registry.on({ path: manifests, method: 'GET' }, { status });
    await expect(fetchTag()).rejects.toMatchObject({ code: 'server-error', status });
  });

  it.each([
    ['no connection', { drop: 'fin' }, 'unreachable'],
    ['a reset', { drop: 'rst' }, 'unreachable'],
    ['a page with status 200', htmlPage(200, 'Sign in'), 'foreign-answer'],
    ['a page with status 403', htmlPage(403, 'Blocked'), 'foreign-answer'],
    ['a page with status 404', htmlPage(404, 'Not found'), 'foreign-answer'],
    ['a page with status 401', htmlPage(401, 'Sign in'), 'foreign-answer'],
    ['an error in JSON of somebody else', { status: 404, body: '{"error":"no"}' }, 'foreign-answer'],
    ['an error list without codes', { status: 404, body: '{"errors":[{"status":404}]}' }, 'foreign-answer'],
    [
      'an error body without an end',
      { status: 404, body: `{"errors":[{"code":"${'X'.repeat(70_000)}"}]}` },
      'foreign-answer',
    ],
  ] as const)('is %s', async (_what, fault, code) => {
    registry.on({ path: manifests }, fault);
    await expect(fetchTag()).rejects.toMatchObject({ code });
  });

  const manifest = (asked: Upstream, wait: typeof query) =>
    asked.fetchManifest({ ...wait, reference: { kind: 'tag', tag: '3' } });
  const tags = (asked: Upstream, wait: typeof query) => asked.listTags(wait);
  const referrers = (asked: Upstream, wait: typeof query) => asked.listReferrers({ ...wait, digest: absentDigest() });

  it.each([
    ['a refusal', 404, manifest],
    ['a manifest', 200, manifest],
    ['a list of tags', 200, tags],
    ['a list of referrers', 200, referrers],
  ] as const)('is %s that does not come to its end by the deadline', async (_what, status, ask) => {
    registry.on(
      { path: /./ },
      { status, headers: { 'content-type': mediaTypes.ociManifest, 'content-length': '100' }, body: '{' },
    );
    const asked = ask(upstream, { ...query, deadlineAt: clock.monotonic() + 2_000 });
    const refused = expect(asked).rejects.toMatchObject({ code: 'timeout' });
    await expect.poll(() => events.length).toBe(1);
    await clock.advance(2_000);
    await refused;
  });

  it('shows what the upstream said only without secrets', async () => {
    registry.on({ path: manifests }, ociError(403, 'DENIED', 'see https://x.example/?token=s3cr3t\r\nX: y'));
    const reply = await fetchTag();
    expect(reply).toMatchObject({ kind: 'denied', message: expect.stringContaining('https://x.example/') });
    expect(inspect(reply)).not.toMatch(/s3cr3t|\\r/);
  });
});

describe('a host that a redirect leads to', () => {
  it('is limited apart from the registry, and is left alone until it said', async () => {
    const cdn = await startFakeUpstream();
    const { layers, root } = registry.addImage(repository, { tag: '3' });
    const digest = layers[0]!.digest;
    const heal = registry.on(
      { path: `/v2/${repository}/blobs/${digest}` },
      { redirect: `${cdn.url}/layer?sig=s3cr3t` },
    );
    cdn.on({ path: '/layer' }, { status: 429, headers: { 'retry-after': '60' } });
    const fetchBlob = () => upstream.fetchBlob({ ...query, digest, from: 0 });
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'rate-limited', retryAt: clock.now() + 60_000 });
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'rate-limited', retryAt: clock.now() + 60_000 });
    expect(cdn.count()).toBe(1);
    heal();
    const blob = await fetchBlob();
    expect(blob).toMatchObject({ kind: 'found' });
    if (blob.kind === 'found') await discard(blob.value.body);
    expect(await upstream.resolve({ ...query, tag: '3' })).toMatchObject({ value: { digest: root.digest } });
    await cdn.stop();
  });
});

describe('an observer', () => {
  it('is told of every request, by host, kind, status and duration, and of failures by their code', async () => {
    registry.on({ path: manifests, times: 1 }, { status: 500 });
    await fetchTag().catch(() => undefined);
    await registry.stop();
    await fetchTag().catch(() => undefined);
    const common = {
      type: 'upstream-request',
      upstream: 'hub',
      operation: 'manifest',
      host: registry.host,
      method: 'GET',
      repository,
      durationMs: 0,
    };
    expect(events).toEqual([
      { ...common, status: 500 },
      { ...common, type: 'upstream-received', bytes: 4, complete: true },
      { ...common, status: undefined, error: 'unreachable' },
    ]);
  });
});
