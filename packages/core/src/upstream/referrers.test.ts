import {
  type AddedImage,
  absentDigest,
  type FakeUpstream,
  htmlPage,
  jsonAnswer,
  type ManualClock,
  manualClock,
  ociError,
  startFakeUpstream,
} from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { upstreamSettings } from '../options.ts';
import { createClient } from './client.ts';
import type { Upstream } from './upstream.ts';

const repository = 'team/app';
const signal = new AbortController().signal;
const query = { repository, scope: '-', deadlineAt: Number.POSITIVE_INFINITY, signal };
const api = /\/referrers\//;

let clock: ManualClock;
let registry: FakeUpstream;
let upstream: Upstream;
let image: AddedImage;

beforeEach(async () => {
  clock = manualClock();
  registry = await startFakeUpstream();
  const settings = upstreamSettings({ key: 'hub', url: registry.url });
  upstream = createClient(settings, { clock, observe: () => undefined });
  image = registry.addImage(repository, { tag: '1' });
});
afterEach(async () => {
  await upstream.close();
  await registry.stop();
});

const list = (digest = image.root.digest) => upstream.listReferrers({ ...query, digest });
const attach = (artifactType: string, fallbackTag = false) =>
  registry.addReferrer(repository, { subject: image.root, artifactType, annotations: { by: 'test' }, fallbackTag });

describe('with a referrers API', () => {
  it('lists what the API lists, of all pages and unfiltered, as it came', async () => {
    registry.change({ pageLimit: 1 });
    const added = ['application/a', 'application/b', 'application/a'].map((type) => attach(type).digest);
    const reply = await list();
    expect(reply).toMatchObject({ kind: 'found' });
    const { manifests } = reply.kind === 'found' ? reply.value : { manifests: [] };
    expect(new Set(manifests.map(({ digest }) => digest))).toEqual(new Set(added));
    expect(manifests[0]).toMatchObject({ annotations: { by: 'test' }, artifactType: expect.any(String) });
    expect(registry.requests.every(({ query: asked }) => !asked.has('artifactType'))).toBe(true);
  });

  it('is an empty list where the API says so, without asking for a tag', async () => {
    expect(await list()).toEqual({ kind: 'found', value: { manifests: [] } });
    expect(registry.requests).toHaveLength(1);
  });

  it('is absent where the API does not know the repository, which is no sign of a missing API', async () => {
    expect(await upstream.listReferrers({ ...query, repository: 'no/such', digest: absentDigest() })).toMatchObject({
      kind: 'absent',
    });
    attach('application/a');
    expect(await list()).toMatchObject({ value: { manifests: [{}] } });
  });

  it.each(['NOT_FOUND', 'MANIFEST_UNKNOWN', 'DENIED'])(
    'was not given up for all repositories over one that the registry does not have (%s)',
    async (code) => {
      registry.on({ path: /\/no\/such\// }, ociError(404, code, 'project no not found'));
      const { digest } = attach('application/a');
      await upstream.listReferrers({ ...query, repository: 'no/such', digest: image.root.digest });
      expect(await list()).toMatchObject({ value: { manifests: [{ digest }] } });
      expect(registry.count({ path: api })).toBe(2);
    },
  );

  it('was not given up over the page of a load balancer: that is a failure where it answered before', async () => {
    const { digest } = attach('application/a');
    await list();
    const heal = registry.on({ path: api }, htmlPage(404, 'Not Found'));
    await expect(list()).rejects.toMatchObject({ code: 'foreign-answer' });
    heal();
    expect(await list()).toMatchObject({ value: { manifests: [{ digest }] } });
  });

  it('stays in use for its repositories where others behind the same URL have none', async () => {
    const { digest } = attach('application/a');
    await list();
    const other = registry.addImage('other/app', { tag: '1' });
    registry.on({ path: /\/other\/app\/referrers\// }, { status: 404, body: '404 page not found\n' });
    const ofOther = { ...query, repository: 'other/app', digest: other.root.digest };
    expect(await upstream.listReferrers(ofOther)).toEqual({ kind: 'found', value: { manifests: [] } });
    expect(await list()).toMatchObject({ value: { manifests: [{ digest }] } });
  });

  it('is missing a day after it last answered, where its path is not found', async () => {
    await list();
    await clock.advance(86_400_000);
    registry.change({ referrers: false });
    expect(await list()).toMatchObject({ kind: 'found' });
    await list();
    expect(registry.count({ path: api })).toBe(2);
  });

  it('fails when a further page fails: part of the list would read as unsigned', async () => {
    registry.change({ pageLimit: 1 });
    attach('application/a');
    attach('application/b');
    registry.serve(`/v2/${repository}/referrers/${image.root.digest}`, ({ query: asked }) =>
      asked.has('last')
        ? ociError(404, 'MANIFEST_UNKNOWN', 'gone')
        : jsonAnswer(200, { manifests: [] }, { link: '<?last=x>; rel="next"' }),
    );
    await expect(list()).rejects.toMatchObject({ code: 'server-error' });
  });

  it('lists all pages where the link to the next one names another origin', async () => {
    const added = ['application/a', 'application/b'].map((type) => attach(type));
    const [first, second] = added.map(({ digest }) => ({ digest }));
    const path = `/v2/${repository}/referrers/${image.root.digest}`;
    registry.serve(path, ({ query: asked }) =>
      asked.has('last')
        ? jsonAnswer(200, { manifests: [second] })
        : jsonAnswer(200, { manifests: [first] }, { link: `<http://registry.internal${path}?last=x>; rel="next"` }),
    );
    expect(await list()).toEqual({ kind: 'found', value: { manifests: [first, second] } });
  });

  it('fails on a list without an end', async () => {
    let page = 0;
    registry.serve(`/v2/${repository}/referrers/${image.root.digest}`, () =>
      jsonAnswer(200, { manifests: [] }, { link: `<?last=${page++}>; rel="next"` }),
    );
    await expect(list()).rejects.toMatchObject({ code: 'too-large' });
    expect(page).toBe(100);
  });
});

describe('without a referrers API', () => {
  beforeEach(() => registry.change({ referrers: false }));

  it('lists what the index under the fallback tag lists', async () => {
    const { digest } = attach('application/a', true);
    expect(await list()).toMatchObject({ kind: 'found', value: { manifests: [{ digest }] } });
    expect(registry.requests.map(({ path }) => path)).toEqual([
      `/v2/${repository}/referrers/${image.root.digest}`,
      `/v2/${repository}/manifests/${image.root.digest.replace(':', '-')}`,
    ]);
  });

  it('is an empty list only when the tag is absent, too', async () => {
    expect(await list()).toEqual({ kind: 'found', value: { manifests: [] } });
    expect(registry.requests).toHaveLength(2);
  });

  it('remembers for a day that there is no API', async () => {
    await list();
    await list();
    expect(registry.count({ path: api })).toBe(1);
    await clock.advance(86_400_000);
    registry.change({ referrers: true });
    const { digest } = attach('application/a');
    expect(await list()).toMatchObject({ value: { manifests: [{ digest }] } });
    expect(registry.count({ path: api })).toBe(2);
  });

  it('fails, and remembers nothing, where the tag cannot be asked for', async () => {
    const heal = registry.on({ path: /manifests\/sha256-/ }, { status: 500 });
    await expect(list()).rejects.toMatchObject({ code: 'server-error' });
    heal();
    await list();
    expect(registry.count({ path: api })).toBe(2);
  });

  it('fails where the tag names no index', async () => {
    registry.addImage(repository, { tag: image.root.digest.replace(':', '-') });
    await expect(list()).rejects.toMatchObject({ code: 'foreign-answer' });
  });
});

describe('a registry that cannot say', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const deep = `{"manifests":[{"digest":"${digest}","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}]}`;

  it.each([
    ['5xx', { status: 503 }, 'server-error'],
    ['429', { status: 429 }, 'rate-limited'],
    ['a web page', htmlPage(200, 'Sign in'), 'foreign-answer'],
    ['an index nested without an end', { status: 200, body: deep }, 'foreign-answer'],
    ['no index', jsonAnswer(200, {}), 'foreign-answer'],
    ['entries that are no descriptors', jsonAnswer(200, { manifests: [{ digest: 'x' }] }), 'foreign-answer'],
  ] as const)('fails and is never an empty list (%s)', async (_what, fault, code) => {
    registry.on({ path: api }, fault);
    await expect(list()).rejects.toMatchObject({ code });
  });

  it('fails on a 404 of a captive portal, whose page stands under the tag, too', async () => {
    registry.change({ personality: 'html-404' });
    await expect(list()).rejects.toMatchObject({ code: 'foreign-answer' });
  });

  it('is denied, not empty, where the registry denies', async () => {
    registry.on({ path: api }, ociError(403, 'DENIED', 'not yours'));
    expect(await list()).toMatchObject({ kind: 'denied', status: 403 });
  });
});
