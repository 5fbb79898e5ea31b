import { expect, onTestFinished, test } from 'vitest';
import { type FakeUpstream, startFakeUpstream } from './fake-upstream.ts';
import type { PersonalityName } from './personality.ts';

async function started(...personality: PersonalityName[]): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream({ personality });
  onTestFinished(() => upstream.stop());
  upstream.addImage('a', { tag: '1' });
  return upstream;
}

const manifest = (upstream: FakeUpstream, init?: RequestInit) => fetch(`${upstream.url}/v2/a/manifests/1`, init);
const head: RequestInit = { method: 'HEAD' };

test.each([
  ['captive-portal', 200],
  ['waf', 403],
  ['html-404', 404],
] as const)('%s answers a page with %i, whatever is asked', async (name, status) => {
  const upstream = await started(name);
  for (const answer of [await manifest(upstream), await fetch(`${upstream.url}/v2/`)]) {
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'text/html; charset=utf-8']);
    expect(await answer.text()).toContain('<html>');
  }
});

test.each([
  ['head-404', 404],
  ['head-405', 405],
] as const)('%s answers HEAD with %i and GET with 200', async (name, status) => {
  const upstream = await started(name);
  expect([(await manifest(upstream, head)).status, (await manifest(upstream)).status]).toEqual([status, 200]);
});

test('head-without-digest keeps the digest on GET', async () => {
  const upstream = await started('head-without-digest');
  const digests = [await manifest(upstream, head), await manifest(upstream)].map((answer) =>
    answer.headers.has('docker-content-digest'),
  );
  expect(digests).toEqual([false, true]);
});

test('no-digest gives no digest at all', async () => {
  const upstream = await started('no-digest');
  const { headers } = await manifest(upstream);
  expect([headers.has('docker-content-digest'), headers.has('etag')]).toEqual([false, false]);
});

test('no-content-length sends the whole body without saying its length', async () => {
  const upstream = await started('no-content-length');
  const answer = await manifest(upstream);
  expect(answer.headers.get('content-length')).toBeNull();
  expect(await answer.json()).toMatchObject({ schemaVersion: 2 });
  expect((await manifest(upstream, head)).headers.get('content-length')).toBeNull();
});

test('no-ranges answers a range with the whole', async () => {
  const upstream = await started('no-ranges');
  const blob = `${upstream.url}/v2/a/blobs/${upstream.putBlob('a', '0123')}`;
  const answer = await fetch(blob, { headers: { range: 'bytes=2-' } });
  expect([answer.status, await answer.text(), answer.headers.has('accept-ranges')]).toEqual([200, '0123', false]);
});

test('strict-accept finds a manifest only for those who name its type', async () => {
  const upstream = await started('strict-accept');
  expect((await manifest(upstream)).status).toBe(404);
  const accept = 'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json';
  expect((await manifest(upstream, { headers: { accept } })).status).toBe(200);
});

test('several personalities are had at once, and can change', async () => {
  const upstream = await started('head-405', 'no-digest');
  expect((await manifest(upstream, head)).status).toBe(405);
  expect((await manifest(upstream)).headers.has('etag')).toBe(false);
  upstream.change({ personality: [] });
  expect((await manifest(upstream, head)).headers.has('etag')).toBe(true);
});
