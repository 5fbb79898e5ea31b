import {
  absentDigest,
  type FakeUpstream,
  type Fault,
  manualClock,
  ociError,
  sha256,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { manifestAccept, mediaTypes } from '../oci/media-type.ts';
import { upstreamSettings } from '../options.ts';
import { version } from '../runtime/version.ts';
import { createClient } from './client.ts';
import type { UpstreamEvent } from './events.ts';
import type { Upstream } from './upstream.ts';

const repository = 'library/alpine';
const clock = manualClock();
const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

let registry: FakeUpstream;
let upstream: Upstream;
let events: UpstreamEvent[];

beforeEach(async () => {
  registry = await startFakeUpstream();
  events = [];
  upstream = createClient(upstreamSettings({ key: 'hub', url: registry.url }), {
    clock,
    observe: (event) => events.push(event),
  });
});
afterEach(async () => {
  await upstream.close();
  await registry.stop();
});

const manifests = /\/manifests\//;
const answers = (fault: Fault, method?: string) => registry.on({ path: manifests, ...(method && { method }) }, fault);
const body = (value: unknown, headers: Record<string, string> = {}) => ({
  status: 200,
  headers,
  body: typeof value === 'string' ? value : JSON.stringify(value),
});

describe('resolving a tag', () => {
  it('asks one HEAD, with our own full Accept, identity encoding and a User-Agent of ours', async () => {
    const { root } = registry.addImage(repository, { tag: '3', platforms: ['linux/amd64', 'linux/arm64'] });
    expect(await upstream.resolve({ ...query, tag: '3' })).toEqual({ kind: 'found', value: root });
    expect(registry.requests).toHaveLength(1);
    expect(registry.requests[0]).toMatchObject({
      method: 'HEAD',
      path: '/v2/library/alpine/manifests/3',
      headers: { accept: manifestAccept, 'accept-encoding': 'identity', 'user-agent': `proxycache/${version}` },
    });
    expect(events).toMatchObject([
      { type: 'upstream-request', upstream: 'hub', operation: 'head', host: registry.host, repository, status: 200 },
    ]);
  });

  it('keeps the path prefix of the url', async () => {
    const prefixed = await startFakeUpstream({ basePath: '/pfx' });
    const { root } = prefixed.addImage(repository, { tag: '3' });
    const client = createClient(upstreamSettings({ key: 'hub', url: `${prefixed.url}/` }), {
      clock,
      observe: () => undefined,
    });
    expect(await client.resolve({ ...query, tag: '3' })).toEqual({ kind: 'found', value: root });
    await client.close();
    await prefixed.stop();
  });

  it('confirms a HEAD that says 404 by one GET, and keeps what that brought', async () => {
    registry.change({ personality: 'head-404' });
    const { root } = registry.addImage(repository, { tag: '3' });
    const reply = await upstream.resolve({ ...query, tag: '3' });
    expect(reply).toMatchObject({ kind: 'found', value: root });
    expect(reply.kind === 'found' && sha256(reply.value.bytes!)).toBe(root.digest);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  it("is absent when HEAD and GET say 404 in the registry's own voice", async () => {
    registry.addImage(repository, { tag: '3' });
    expect(await upstream.resolve({ ...query, tag: '4' })).toEqual({
      kind: 'absent',
      code: 'MANIFEST_UNKNOWN',
      message: 'manifest unknown',
    });
  });

  it.each(['head-405', 'head-without-digest', 'no-content-length'] as const)(
    'asks by GET and hashes where HEAD cannot say (%s)',
    async (personality) => {
      registry.change({ personality });
      const { root } = registry.addImage(repository, { tag: '3' });
      const reply = await upstream.resolve({ ...query, tag: '3' });
      expect(reply).toMatchObject({ kind: 'found', value: root });
      expect(reply.kind === 'found' && reply.value.bytes).toBeDefined();
    },
  );

  it.each([429, 500, 503])('takes a HEAD that says %i for what it is and asks no GET', async (status) => {
    answers({ status });
    await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject({
      code: status === 429 ? 'rate-limited' : 'server-error',
      status,
    });
    expect(registry.requests).toHaveLength(1);
  });

  it('takes a HEAD that says 401 for what it is and asks no GET', async () => {
    registry.change({ auth: { basic: { username: 'ann', password: 'secret' } } });
    expect(await upstream.resolve({ ...query, tag: '3' })).toMatchObject({ kind: 'denied', status: 401 });
    expect(registry.requests.map(({ method }) => method)).not.toContain('GET');
  });

  it('asks by GET whose voice a HEAD of 403 is', async () => {
    registry.change({ personality: 'waf' });
    await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject({ code: 'foreign-answer' });
    registry.change({ personality: [] });
    answers(ociError(403, 'DENIED', 'not yours'));
    expect(await upstream.resolve({ ...query, tag: '3' })).toMatchObject({ kind: 'denied', status: 403 });
  });

  it('does not take a page of a captive portal for an answer', async () => {
    registry.change({ personality: 'captive-portal' });
    await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it('says that an image is there in schema 1 only', async () => {
    answers(body('', { 'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' }));
    await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject({
      code: 'manifest-unsupported',
      message: expect.stringContaining('schema version 1'),
    });
  });
});

describe('proving a manifest by digest', () => {
  it('asks one HEAD', async () => {
    const { root } = registry.addImage(repository);
    expect(await upstream.statManifest({ ...query, digest: root.digest })).toEqual({ kind: 'found', value: root });
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  it('needs no digest header, because the digest is known', async () => {
    registry.change({ personality: 'head-without-digest' });
    const { root } = registry.addImage(repository);
    expect(await upstream.statManifest({ ...query, digest: root.digest })).toEqual({ kind: 'found', value: root });
    expect(registry.requests).toHaveLength(1);
  });

  it('fails where the answer names another digest', async () => {
    const { root } = registry.addImage(repository);
    answers({ ...body('x', { 'docker-content-digest': absentDigest(), 'content-type': mediaTypes.ociManifest }) });
    await expect(upstream.statManifest({ ...query, digest: root.digest })).rejects.toMatchObject({
      code: 'digest-mismatch',
    });
  });
});
