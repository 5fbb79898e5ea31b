import { type FakeUpstream, type Fault, manualClock, ociError, sha256, startFakeUpstream } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '../oci/media-type.ts';
import { upstreamSettings } from '../options.ts';
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

describe('fetching a manifest', () => {
  const byTag = (tag: string) => upstream.fetchManifest({ ...query, reference: { kind: 'tag', tag } });

  it('costs one GET by tag and gives the very bytes', async () => {
    const { root } = registry.addImage(repository, { tag: '3', docker: true });
    const reply = await byTag('3');
    expect(reply).toMatchObject({ kind: 'found', value: { descriptor: root } });
    expect(reply.kind === 'found' && sha256(reply.value.bytes)).toBe(root.digest);
    expect(registry.requests.map(({ method }) => method)).toEqual(['GET']);
  });

  it('hashes where the registry names no digest', async () => {
    registry.change({ personality: 'no-digest' });
    const { root } = registry.addImage(repository, { tag: '3' });
    expect(await byTag('3')).toMatchObject({ kind: 'found', value: { descriptor: root } });
  });

  it('refuses bytes that are not those of the digest asked for', async () => {
    const { root } = registry.addImage(repository);
    answers({ corruptAt: 20 });
    const reference = { kind: 'digest', digest: root.digest } as const;
    await expect(upstream.fetchManifest({ ...query, reference })).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  it('refuses bytes that are not those of the digest announced for the tag', async () => {
    registry.addImage(repository, { tag: '3' });
    answers({ corruptAt: 20 });
    await expect(byTag('3')).rejects.toMatchObject({ code: 'digest-mismatch' });
  });

  it('takes at most maxManifestBytes, announced or not', async () => {
    const client = createClient(upstreamSettings({ key: 'hub', url: registry.url, maxManifestBytes: 100 }), {
      clock,
      observe: () => undefined,
    });
    registry.addImage(repository, { tag: '3' });
    const reference = { kind: 'tag', tag: '3' } as const;
    await expect(client.fetchManifest({ ...query, reference })).rejects.toMatchObject({ code: 'too-large' });
    registry.change({ personality: 'no-content-length' });
    await expect(client.fetchManifest({ ...query, reference })).rejects.toMatchObject({ code: 'too-large' });
    await client.close();
  });

  it.each(['', 'application/json', 'application/octet-stream', 'text/plain; charset=utf-8'])(
    "takes the body's own type where the header says nothing (%s)",
    async (type) => {
      answers(
        body(
          { schemaVersion: 2, mediaType: mediaTypes.dockerManifest, layers: [] },
          type ? { 'content-type': type } : {},
        ),
      );
      expect(await byTag('3')).toMatchObject({ value: { descriptor: { mediaType: mediaTypes.dockerManifest } } });
    },
  );

  it('takes the type that the shape can only have where neither says one', async () => {
    answers(body({ schemaVersion: 2, manifests: [] }, { 'content-type': 'application/json' }));
    expect(await byTag('3')).toMatchObject({ value: { descriptor: { mediaType: mediaTypes.ociIndex } } });
  });

  it.each([
    ['differs from that of its body', { mediaType: mediaTypes.ociManifest, layers: [] }],
    ['does not fit its shape (CVE-2021-41190)', { manifests: [] }],
  ])('refuses a manifest whose type %s', async (_what, value) => {
    answers(body({ schemaVersion: 2, ...value }, { 'content-type': mediaTypes.dockerManifest }));
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it.each([
    ['a page', 'text/html'],
    ['a picture with scripts', 'image/svg+xml'],
    ['plain JSON', 'application/json'],
    ['what would break out of its header', 'application/vnd.x\r\nset-cookie: a=b'],
    ['what no header can hold', 'application/vnd.x\u2028'],
    ['what has parameters', 'application/vnd.x;charset=utf-8'],
    ['a vendor without a name', 'application/vnd.'],
    ['a name without an end', `application/vnd.${'x'.repeat(200)}`],
  ])('refuses a manifest that calls itself %s, whatever the header', async (_what, mediaType) => {
    for (const said of ['application/json', mediaTypes.ociManifest]) {
      const heal = answers(body({ schemaVersion: 2, mediaType, layers: [] }, { 'content-type': said }));
      await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
      heal();
    }
  });

  it.each(['image/svg+xml', 'application/vnd.x"y', `application/vnd.${'x'.repeat(200)}`])(
    'refuses a manifest whose header says %s, on GET and on HEAD',
    async (said) => {
      answers(body({ schemaVersion: 2, layers: [] }, { 'content-type': said }));
      await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
      await expect(upstream.resolve({ ...query, tag: '3' })).rejects.toMatchObject({ code: 'foreign-answer' });
    },
  );

  it('passes on a vendor type that it does not know', async () => {
    const mediaType = 'application/vnd.Example_1.x-y+json';
    answers(body({ schemaVersion: 2, mediaType, layers: [] }, { 'content-type': 'application/json' }));
    expect(await byTag('3')).toMatchObject({ value: { descriptor: { mediaType } } });
  });

  it('refuses a manifest that is nested without an end', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    answers(body(`{"schemaVersion":2,"layers":[],"x":${deep}}`, { 'content-type': mediaTypes.ociManifest }));
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it('refuses a body that is an index and an image at once (CVE-2021-41190)', async () => {
    answers(body({ schemaVersion: 2, manifests: [], layers: [] }, { 'content-type': mediaTypes.ociIndex }));
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it('says that an image is there in schema 1 only, whatever its header says', async () => {
    answers(body({ schemaVersion: 1, fsLayers: [] }, { 'content-type': 'application/json' }));
    await expect(byTag('3')).rejects.toMatchObject({ code: 'manifest-unsupported' });
  });

  it.each(['captive-portal', 'waf', 'html-404'] as const)('fails on the page of a %s', async (personality) => {
    registry.change({ personality });
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer', upstream: 'hub' });
  });

  it('fails on a compressed answer, whose digest would be that of other bytes', async () => {
    answers(body('x', { 'content-encoding': 'gzip', 'content-type': mediaTypes.ociManifest }));
    await expect(byTag('3')).rejects.toMatchObject({
      code: 'foreign-answer',
      message: expect.stringContaining('gzip'),
    });
  });

  it('fails on a body that is no JSON', async () => {
    answers(body('{', { 'content-type': mediaTypes.ociManifest }));
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it('is denied where the registry itself says 403 or 451', async () => {
    for (const status of [403, 412, 451]) {
      const heal = answers(ociError(status, 'DENIED', 'not yours'));
      expect(await byTag('3')).toEqual({ kind: 'denied', status, message: 'not yours' });
      heal();
    }
  });

  it("does not take Docker-Distribution-Api-Version alone for the registry's voice", async () => {
    answers({ status: 404, headers: { 'docker-distribution-api-version': 'registry/2.0' }, body: 'gone' });
    await expect(byTag('3')).rejects.toMatchObject({ code: 'foreign-answer', status: 404 });
  });

  it("takes a marker of the options for the registry's voice", async () => {
    answers({ status: 404, body: 'File not found.' });
    const client = createClient(upstreamSettings({ key: 'art', url: registry.url, ownVoice: ['File not found'] }), {
      clock,
      observe: () => undefined,
    });
    expect(await client.fetchManifest({ ...query, reference: { kind: 'tag', tag: '3' } })).toMatchObject({
      kind: 'absent',
    });
    await client.close();
  });
});
