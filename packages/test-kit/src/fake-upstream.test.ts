import { describe, expect, onTestFinished, test } from 'vitest';
import { sha256 } from './content.ts';
import { startFakeCdn } from './fake-cdn.ts';
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from './fake-upstream.ts';
import { absentDigest } from './image.ts';
import { manualClock } from './manual-clock.ts';

async function started(options?: FakeUpstreamOptions): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream(options);
  onTestFinished(() => upstream.stop());
  return upstream;
}

type Entry = { digest: string };
const codeOf = async (answer: Response) =>
  ((await answer.json()) as { errors: { code: string }[] }).errors.map(({ code }) => code).join();
const listed = async (answer: Response) => ((await answer.json()) as { manifests: Entry[] }).manifests;
const get = (upstream: FakeUpstream, path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${upstream.url}/v2/${path}`, { method, headers, redirect: 'manual' });

describe('content', () => {
  test('an image is the same whenever and wherever it is made from one seed', async () => {
    const [one, two] = [await started(), await started()];
    const platforms = ['linux/amd64', 'linux/arm64/v8'];
    const image = one.addImage('library/a', { tag: '1', platforms, seed: 1 });
    expect(two.addImage('other/b', { platforms, seed: 1 })).toEqual(image);
    expect(two.addImage('other/b', { platforms, seed: 2 }).root.digest).not.toBe(image.root.digest);
    expect(image.manifests).toHaveLength(2);
    expect(image.blobs).toHaveLength(6);
    expect(image.root).toEqual(image.index);
  });

  test('a manifest is served verbatim by tag and by digest, with its type, digest and length', async () => {
    const upstream = await started();
    const { root } = upstream.addImage('library/a', { tag: '1', platforms: ['linux/amd64'] });
    for (const reference of ['1', root.digest]) {
      const answer = await get(upstream, `library/a/manifests/${reference}`);
      expect(answer.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
      expect(answer.headers.get('docker-content-digest')).toBe(root.digest);
      expect(answer.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
      const bytes = Buffer.from(await answer.arrayBuffer());
      expect([sha256(bytes), bytes.byteLength]).toEqual([root.digest, root.size]);
      const head = await get(upstream, `library/a/manifests/${reference}`, {}, 'HEAD');
      expect([head.status, head.headers.get('content-length')]).toEqual([200, String(root.size)]);
    }
    const etag = `"${root.digest}"`;
    expect((await get(upstream, 'library/a/manifests/1', { 'if-none-match': etag })).status).toBe(304);
  });

  test('docker images have the types of schema 2', async () => {
    const upstream = await started();
    const image = upstream.addImage('library/a', { tag: '1', platforms: ['linux/amd64'], docker: true });
    const types = [image.root, image.manifests[0], image.config, image.layers[0]].map((one) => one?.mediaType);
    expect(types).toEqual([
      'application/vnd.docker.distribution.manifest.list.v2+json',
      'application/vnd.docker.distribution.manifest.v2+json',
      'application/vnd.docker.container.image.v1+json',
      'application/vnd.docker.image.rootfs.diff.tar.gzip',
    ]);
  });

  test('a blob of one repository is absent in another', async () => {
    const upstream = await started();
    const digest = upstream.putBlob('a', 'bytes');
    upstream.putBlob('b', 'others');
    expect(await (await get(upstream, `a/blobs/${digest}`)).text()).toBe('bytes');
    expect(await codeOf(await get(upstream, `b/blobs/${digest}`))).toBe('BLOB_UNKNOWN');
    expect(await codeOf(await get(upstream, `c/blobs/${digest}`))).toBe('NAME_UNKNOWN');
  });

  test('what is removed is absent', async () => {
    const upstream = await started();
    const { root } = upstream.addImage('a', { tag: '1' });
    upstream.removeTag('a', '1');
    expect(await codeOf(await get(upstream, 'a/manifests/1'))).toBe('MANIFEST_UNKNOWN');
    expect((await get(upstream, `a/manifests/${root.digest}`)).status).toBe(200);
    upstream.removeRepository('a');
    expect(await codeOf(await get(upstream, `a/manifests/${root.digest}`))).toBe('NAME_UNKNOWN');
  });

  test.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
    ['bytes=10-', 416, '', 'bytes */10'],
    ['bytes=0-1,4-5', 200, '0123456789', null],
    ['bytes=x', 200, '0123456789', null],
  ])('a blob asked with %s is %i', async (range, status, text, contentRange) => {
    const upstream = await started();
    const answer = await get(upstream, `a/blobs/${upstream.putBlob('a', '0123456789')}`, { range });
    expect([answer.status, await answer.text(), answer.headers.get('content-range')]).toEqual([
      status,
      text,
      contentRange,
    ]);
  });

  test('a range holds only for the validator that goes with it', async () => {
    const upstream = await started();
    const digest = upstream.putBlob('a', '0123456789');
    const ask = (headers: Record<string, string>) =>
      get(upstream, `a/blobs/${digest}`, { range: 'bytes=5-', ...headers });
    expect((await ask({ 'if-range': `"${digest}"` })).status).toBe(206);
    expect((await ask({ 'if-range': '"other"' })).status).toBe(200);
    expect((await ask({ 'if-match': `"${digest}"` })).status).toBe(206);
    expect((await ask({ 'if-match': '"other"' })).status).toBe(412);
  });

  test('tags come sorted, in pages', async () => {
    const upstream = await started({ pageLimit: 2, basePath: '/prefix' });
    for (const tag of ['c', 'a', 'b']) upstream.tag('a', tag, absentDigest());
    const first = await get(upstream, 'a/tags/list');
    expect(await first.json()).toEqual({ name: 'a', tags: ['a', 'b'] });
    expect(first.headers.get('link')).toBe('</prefix/v2/a/tags/list?n=2&last=b>; rel="next"');
    const second = await get(upstream, 'a/tags/list?n=2&last=b');
    expect([await second.json(), second.headers.get('link')]).toEqual([{ name: 'a', tags: ['c'] }, null]);
    expect(await (await get(upstream, 'a/tags/list?n=0')).json()).toEqual({ name: 'a', tags: [] });
  });

  test('referrers are found by API, filtered on demand, and by the tag where the API is off', async () => {
    const upstream = await started();
    const { root } = upstream.addImage('a', { tag: '1' });
    const signature = { subject: root, artifactType: 'application/x-signature', annotations: { by: 'me' } };
    const added = upstream.addReferrer('a', signature);
    upstream.addReferrer('a', { subject: root, artifactType: 'application/x-sbom', fallbackTag: true });
    const path = `a/referrers/${root.digest}`;
    expect(await listed(await get(upstream, path))).toHaveLength(2);
    const filtered = await get(upstream, `${path}?artifactType=application/x-signature`);
    expect(filtered.headers.get('oci-filters-applied')).toBe('artifactType');
    expect(await listed(filtered)).toEqual([
      { ...added, artifactType: 'application/x-signature', annotations: { by: 'me' } },
    ]);
    expect(await listed(await get(upstream, `a/referrers/${absentDigest()}`))).toEqual([]);
    upstream.change({ referrers: false });
    expect((await get(upstream, path)).status).toBe(404);
    const tagged = await get(upstream, `a/manifests/${root.digest.replace(':', '-')}`);
    expect(await listed(tagged)).toHaveLength(2);
  });

  test('referrers come in pages', async () => {
    const upstream = await started({ pageLimit: 1 });
    const { root } = upstream.addImage('a', { tag: '1' });
    for (const kind of ['x', 'y']) upstream.addReferrer('a', { subject: root, artifactType: `application/${kind}` });
    let next: string | undefined = `/v2/a/referrers/${root.digest}`;
    const found: Entry[] = [];
    while (next) {
      const page: Response = await fetch(upstream.url + next);
      found.push(...(await listed(page)));
      next = /<(.+)>/.exec(page.headers.get('link') ?? '')?.[1];
    }
    expect(new Set(found.map(({ digest }) => digest)).size).toBe(2);
  });

  test('pushes and paths of no registry are refused', async () => {
    const upstream = await started();
    expect((await get(upstream, 'a/manifests/1', {}, 'PUT')).status).toBe(405);
    expect((await fetch(`${upstream.url}/v1/_ping`)).status).toBe(404);
    expect((await get(upstream, '')).status).toBe(200);
  });
});

describe('redirectBlobsTo', () => {
  test('a blob is had by a signed URL of the other host, without Authorization and until it expires', async () => {
    const clock = manualClock();
    const cdn = await startFakeCdn({ clock, expiresIn: 60 });
    onTestFinished(() => cdn.stop());
    const upstream = await started({ redirectBlobsTo: cdn });
    const digest = upstream.putBlob('a', '0123456789');
    const redirect = await get(upstream, `a/blobs/${digest}`);
    const url = redirect.headers.get('location') ?? '';
    expect([redirect.status, new URL(url).host]).toEqual([307, cdn.host]);
    expect(await (await fetch(url)).text()).toBe('0123456789');
    expect(await (await fetch(url, { headers: { range: 'bytes=8-' } })).text()).toBe('89');
    expect((await fetch(url, { headers: { authorization: 'Bearer x' } })).status).toBe(400);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(403);
    expect((await fetch(url.replace(/Signature=./, 'Signature=x'))).status).toBe(403);
    await clock.advance(61_000);
    expect((await fetch(url)).status).toBe(403);
    expect(cdn.count()).toBe(6);
    const head = await get(upstream, `a/blobs/${digest}`, {}, 'HEAD');
    expect((await fetch(head.headers.get('location') ?? '', { method: 'HEAD' })).status).toBe(200);
    const later = (await get(upstream, `a/blobs/${digest}`)).headers.get('location') ?? '';
    cdn.expire();
    expect((await fetch(later)).status).toBe(403);
    expect((await fetch((await get(upstream, `a/blobs/${digest}`)).headers.get('location') ?? '')).status).toBe(200);
  });
});
