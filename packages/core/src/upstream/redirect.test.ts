import { inspect } from 'node:util';
import {
  type FakeCdn,
  type FakeHost,
  type FakeUpstream,
  manualClock,
  selfSigned,
  sha256,
  startFakeCdn,
  startFakeHost,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Descriptor } from '../oci/descriptor.ts';
import { upstreamSettings } from '../options.ts';
import { collect } from '../runtime/bytes.ts';
import { createClient } from './client.ts';
import type { UpstreamEvent } from './events.ts';
import type { FetchedBlob, Reply, Upstream } from './upstream.ts';
import type { UpstreamOptions } from './upstream-options.ts';

const repository = 'library/alpine';
const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

let cdn: FakeCdn;
let registry: FakeUpstream;
let upstream: Upstream;
let layer: Descriptor;
let events: UpstreamEvent[];
let cleanups: (() => Promise<void>)[];

beforeEach(async () => {
  cdn = await startFakeCdn({ address: '127.0.0.2' });
  registry = await startFakeUpstream({ auth: { bearer: { expiresIn: 300 } }, redirectBlobsTo: cdn });
  cleanups = [cdn.stop, registry.stop];
  events = [];
  upstream = connect(registry);
  layer = registry.addImage(repository, { tag: '3' }).layers[0]!;
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

function connect({ url }: FakeHost, more: Partial<UpstreamOptions> = {}): Upstream {
  const settings = upstreamSettings({ key: 'hub', url, ...more });
  const client = createClient(settings, { clock: manualClock(), observe: (event) => events.push(event) });
  cleanups.push(() => client.close());
  return client;
}

const fetchBlob = (from = 0, client = upstream) => client.fetchBlob({ ...query, digest: layer.digest, from });
const blobs = /\/blobs\//;

async function bytesIn(reply: Reply<FetchedBlob>): Promise<Uint8Array> {
  if (reply.kind !== 'found') throw new Error(JSON.stringify(reply));
  return (await collect(reply.value.body, 1e9))!;
}

describe('a blob behind a redirect', () => {
  it('is fetched from there, without Authorization, and with the range kept', async () => {
    expect(sha256(await bytesIn(await fetchBlob()))).toBe(layer.digest);
    expect(await bytesIn(await fetchBlob(4_000))).toHaveLength(layer.size - 4_000);
    expect(cdn.requests.map(({ headers }) => [headers.authorization, headers.range])).toEqual([
      [undefined, undefined],
      [undefined, 'bytes=4000-'],
    ]);
  });

  it('is proved by HEAD there, too', async () => {
    expect(await upstream.statBlob({ ...query, digest: layer.digest })).toEqual({
      kind: 'found',
      value: { size: layer.size, named: false },
    });
    expect(cdn.requests.map(({ method }) => method)).toEqual(['HEAD']);
  });

  it('is proved by a GET closed after its headers where the signed URL is not good for HEAD', async () => {
    cdn.on({ method: 'HEAD' }, { status: 403, body: '<Error/>', headers: { 'content-type': 'application/xml' } });
    expect(await upstream.statBlob({ ...query, digest: layer.digest })).toMatchObject({ kind: 'found' });
    expect(cdn.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  it('is asked for at the registry each time: a signed URL is never kept', async () => {
    await bytesIn(await fetchBlob());
    await bytesIn(await fetchBlob());
    const signatures = cdn.requests.map(({ query: asked }) => asked.get('Signature'));
    expect(signatures).toHaveLength(2);
    expect(registry.count({ path: blobs })).toBeGreaterThanOrEqual(2);
  });

  it('fails, and is not absent or denied, where the store behind it says 403 or 404', async () => {
    for (const status of [403, 404]) {
      const heal = cdn.on({}, { status, body: '<Error/>', headers: { 'content-type': 'application/xml' } });
      await expect(fetchBlob()).rejects.toMatchObject({ code: 'foreign-answer', status });
      heal();
    }
    // A 403 of the store says nothing of our token.
    expect(registry.tokenCalls()).toBe(1);
  });

  it('shows its URL in no error and no event', async () => {
    const errors: unknown[] = [];
    const note = (error: unknown) => errors.push(error);
    for (const fault of [{ status: 403, body: 'no' }, { status: 500 }, { drop: 'rst' }] as const) {
      const heal = cdn.on({}, fault);
      await fetchBlob().catch(note);
      heal();
    }
    await cdn.stop();
    await fetchBlob().catch(note);
    registry.on({ path: blobs }, { redirect: 'https://[?Signature=s3cr3t' });
    await fetchBlob().catch(note);
    expect(errors).toHaveLength(5);
    expect(inspect([errors, events], { depth: 10 })).not.toMatch(/Signature|Expires|s3cr3t/);
    expect(events).toContainEqual(expect.objectContaining({ host: cdn.host, operation: 'blob', status: 403 }));
  });
});

describe('redirects', () => {
  const serve = (path: string, location: string) =>
    registry.serve(path, () => ({ status: 302, headers: { location }, body: '' }));

  it('are followed five times, relative ones too, and not a sixth', async () => {
    for (let hop = 1; hop < 5; hop++) serve(`/hop/${hop}`, `${hop + 1}?x=y`);
    registry.serve('/hop/5', () => ({ status: 200, headers: {}, body: 'there' }));
    registry.on({ path: blobs }, { redirect: '/hop/1' });
    expect(new TextDecoder().decode(await bytesIn(await fetchBlob()))).toBe('there');
    serve('/hop/5', '/hop/6');
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'foreign-answer', message: expect.stringContaining('5') });
  });

  it('within the registry keep Authorization; after another origin it does not come back', async () => {
    await bytesIn(await fetchBlob());
    registry.serve('/here', () => ({ status: 200, headers: {}, body: 'x' }));
    const heal = registry.on({ path: blobs }, { redirect: '/here' });
    await bytesIn(await fetchBlob());
    heal();
    const back = await startFakeHost({ address: '127.0.0.2' }, () => ({
      status: 302,
      headers: { location: `${registry.url}/here` },
      body: '',
    }));
    cleanups.push(back.stop);
    registry.on({ path: blobs }, { redirect: back.url });
    await bytesIn(await fetchBlob());
    const seen = registry.requests.filter(({ path }) => path === '/here').map(({ headers }) => headers.authorization);
    expect(seen).toEqual([expect.stringMatching(/^Bearer /), undefined]);
    expect(back.requests[0]!.headers).not.toHaveProperty('authorization');
  });

  it.each(['ftp://cdn.example/x', 'file:///etc/passwd', 'data:,x'])('are not followed to %s', async (location) => {
    registry.on({ path: blobs }, { redirect: location });
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'address-refused' });
  });

  it('are not followed to metadata services', async () => {
    registry.on({ path: blobs }, { redirect: 'http://169.254.169.254/latest/meta-data/' });
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'address-refused' });
  });

  it('that fail name neither host in the message, which clients get, but in the cause', async () => {
    await cdn.stop();
    const message = expect.stringMatching(/^hub led to a host that refused the connection/);
    const cause = expect.objectContaining({ message: expect.stringContaining(cdn.host) });
    await expect(fetchBlob()).rejects.toMatchObject({ code: 'unreachable', message, cause });
    expect(events.at(-1)).toMatchObject({ host: cdn.host, error: 'unreachable' });
  });

  it('never lead from https to http, and neither do realms', async () => {
    const { ca, server } = await selfSigned();
    const secure = await startFakeUpstream({ tls: server });
    cleanups.push(secure.stop);
    const client = connect(secure, { tls: { ca } });
    const heal = secure.on({ path: blobs }, { redirect: `${cdn.url}/x` });
    await expect(fetchBlob(0, client)).rejects.toMatchObject({ code: 'address-refused' });
    expect(cdn.count()).toBe(0);
    heal();
    secure.change({ auth: { bearer: { realm: `${registry.url}/token` } } });
    await expect(fetchBlob(0, client)).rejects.toMatchObject({ code: 'address-refused' });
    expect(registry.count({ path: '/token' })).toBe(0);
  });
});
