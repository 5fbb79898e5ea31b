import { startFakeUpstream } from '@proxycache/test-kit';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { startAdmin } from './admin-under-test.ts';
import { api, exercised } from './check-answer.ts';

/** Every id of the document. */
const operations = Object.values(api.paths).flatMap((path) =>
  Object.values(path).map(({ operationId }) => operationId),
);

describe('the OpenAPI document', () => {
  test('is one of OpenAPI 3.1', async () => {
    const validator = new Validator();
    expect(await validator.validate(structuredClone(api))).toEqual({ valid: true });
    expect(validator.version).toBe('3.1');
  });

  test('names each operation once', () => {
    expect(new Set(operations).size).toBe(operations.length);
  });

  test('says where it is, also below a path', async () => {
    const { ask } = await startAdmin();
    expect((await ask('/openapi.json')).json.servers).toEqual([{ url: '/admin/v1' }]);
  });
});

describe('each operation answers as the document says', () => {
  afterAll(() => {
    expect([...exercised].sort()).toEqual([...operations].sort());
  });

  test('upstreams', async () => {
    const { ask } = await startAdmin();
    const own = {
      key: 'my-own',
      url: 'http://127.0.0.1:1',
      auth: { kind: 'anonymous' },
      origin: 'options',
      revision: 0,
    };
    const status = { key: 'my-own', mode: 'normal', state: 'closed', hosts: [] };
    expect((await ask('/upstreams')).json.upstreams).toEqual([{ ...own, status }]);
    expect((await ask('/upstreams/my-own')).json).toEqual({ ...own, status });
    expect((await ask('/upstreams/other')).json).toMatchObject({ status: 404, code: 'name-unknown' });
  });

  test('an upstream that is added, changed, checked and removed', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    upstream.addImage('team/app', { tag: '1' });
    const { ask, askRaw } = await startAdmin();
    const pulls = async () => (await askRaw('/v2/other/team/app/manifests/1')).status;
    expect((await ask('/check', { method: 'POST', body: { key: 'other', url: upstream.url } })).json.ok).toBe(true);
    const added = await ask('/upstreams', {
      method: 'POST',
      body: { key: 'other', url: upstream.url, freshFor: '1m' },
    });
    expect([added.status, added.headers.location]).toEqual([201, '/admin/v1/upstreams/other']);
    expect(added.json).toMatchObject({ key: 'other', origin: 'added', freshFor: '1m', status: { key: 'other' } });
    expect(await pulls()).toBe(200);
    const again = await ask('/upstreams', { method: 'POST', body: { key: 'other', url: upstream.url } });
    expect(again.json).toMatchObject({ status: 409, code: 'upstream-exists' });

    const change = (body: object) => ask('/upstreams/other', { method: 'PATCH', body });
    expect((await change({ freshFor: null, mode: 'offline' })).json).toMatchObject({ revision: 2, mode: 'offline' });
    expect((await ask('/upstreams/other')).json).not.toHaveProperty('freshFor');
    expect((await ask('/upstreams/other/check', { method: 'POST' })).json).toMatchObject({ upstream: 'other' });
    expect((await change({ key: 'third' })).json).toMatchObject({ status: 400, code: 'invalid-options' });

    const gone = await ask('/upstreams/other', { method: 'DELETE' });
    expect([gone.status, gone.text]).toEqual([204, '']);
    expect(await pulls()).toBe(404);
    expect((await ask('/upstreams/other', { method: 'DELETE' })).json).toMatchObject({ code: 'name-unknown' });
    expect((await ask('/upstreams/other/check', { method: 'POST' })).json).toMatchObject({ code: 'name-unknown' });
  });

  test('images that are fetched before anybody pulls them, as a job', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
    const { ask } = await startAdmin({}, { upstreams: [{ key: 'my-own', url: upstream.url }] });
    const references = ['my-own/team/app:1', 'my-own/team/none:1'];
    const body = { kind: 'warm', references, platforms: ['linux/amd64'] };
    const { json: job } = await ask('/jobs', { method: 'POST', body });
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state).toBe('finished');
    const { report } = (await ask(`/jobs/${job.id}`)).json;
    expect(report.references.map(({ outcome }: { outcome: string }) => outcome)).toEqual(['stored', 'failed']);
    const { tags } = (await ask('/tags?upstream=my-own&repository=team/app')).json;
    expect(tags).toMatchObject([{ tag: '1', complete: true, platforms: ['linux/amd64'] }]);
  });

  test('what the members of a group own', async () => {
    const [one, two] = [await startFakeUpstream(), await startFakeUpstream()];
    onTestFinished(async () => {
      await one.stop();
      await two.stop();
    });
    for (const repository of ['team/a', 'team/b']) two.addImage(repository, { tag: '1' });
    const upstreams = [
      { key: 'one', url: one.url },
      { key: 'two', url: two.url },
    ];
    const groups = [{ key: 'both', upstreams: ['one', 'two'] }];
    const { ask, askRaw } = await startAdmin({}, { upstreams, groups });
    for (const repository of ['team/a', 'team/b']) await askRaw(`/v2/both/${repository}/manifests/1`);
    const first = (await ask('/groups/both/pins?limit=1')).json;
    expect(first).toMatchObject({ pins: [{ repository: 'team/a', upstream: 'two' }], next: 'team/a' });
    const second = (await ask('/groups/both/pins?after=team%2Fa')).json;
    expect(second).toEqual({ pins: [{ repository: 'team/b', upstream: 'two', pinnedAt: expect.any(Number) }] });
    const remove = () => ask('/groups/both/pins?repository=team/a', { method: 'DELETE' });
    expect((await remove()).status).toBe(204);
    expect((await remove()).json).toMatchObject({ status: 404, code: 'name-unknown' });
    expect((await ask('/groups/both/pins', { method: 'DELETE' })).json).toMatchObject({ status: 400 });
    expect((await ask('/groups/one/pins')).json).toMatchObject({ status: 404, code: 'name-unknown' });
  });

  test('repositories, tags and manifests that are stored', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    const image = upstream.addImage('team/app', { tag: '1', platforms: ['linux/amd64'] });
    const { ask, askRaw } = await startAdmin({}, { upstreams: [{ key: 'my-own', url: upstream.url }] });
    await askRaw('/v2/my-own/team/app/manifests/1');
    const stored = { upstream: 'my-own', repository: 'team/app' };
    expect((await ask('/repositories?upstream=my-own&limit=5')).json).toEqual({ repositories: [stored] });
    const query = 'upstream=my-own&repository=team%2Fapp';
    const { digest } = image.root;
    expect((await ask(`/tags?${query}`)).json.tags).toMatchObject([
      { tag: '1', state: 'stale', digest, complete: false },
    ]);
    expect((await ask(`/manifests?${query}&after=${'a'.repeat(7)}`)).json.manifests).toMatchObject([{ digest }]);
    expect((await ask('/tags?upstream=my-own')).json).toMatchObject({ status: 400, code: 'invalid-options' });
    expect((await ask('/tags?upstream=other&repository=a')).json).toMatchObject({ status: 404, code: 'name-unknown' });
    expect((await ask(`/tags?${query}&limit=1001`)).json).toMatchObject({ status: 400, code: 'invalid-options' });
    expect((await ask(`/tags?${query}&limit=1&limit=2`)).json.detail).toBe('limit: it is given twice');
  });

  test('what is purged, at once and as a job', async () => {
    const upstream = await startFakeUpstream();
    onTestFinished(() => upstream.stop());
    upstream.addImage('team/app', { tag: '1' });
    upstream.addImage('team/app', { tag: '2' });
    const { ask, askRaw } = await startAdmin({}, { upstreams: [{ key: 'my-own', url: upstream.url }] });
    for (const tag of ['1', '2']) await askRaw(`/v2/my-own/team/app/manifests/${tag}`);
    const tags = async () =>
      (await ask('/tags?upstream=my-own&repository=team/app')).json.tags.map((one: { tag: string }) => one.tag);
    expect(await tags()).toEqual(['1', '2']);
    const purged = await ask('/purge', { method: 'POST', body: { reference: 'my-own/team/app:1' } });
    expect([purged.status, purged.json.tags]).toEqual([200, 1]);
    expect(await tags()).toEqual(['2']);
    const what = { upstream: 'my-own', repository: 'team/app' };
    const { json: job } = await ask('/jobs', { method: 'POST', body: { kind: 'purge', what } });
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state).toBe('finished');
    expect((await ask(`/jobs/${job.id}`)).json.report).toMatchObject({ tags: 1 });
    expect(await tags()).toEqual([]);
    for (const wrong of [
      {},
      { reference: 'my-own/a:1', upstream: 'my-own' },
      { repository: 'team/app' },
      { reference: 1 },
    ]) {
      expect((await ask('/purge', { method: 'POST', body: wrong })).json).toMatchObject({
        status: 400,
        code: 'invalid-options',
      });
    }
    expect((await ask('/purge', { method: 'POST', body: { reference: 'none/a:1' } })).json).toMatchObject({
      status: 404,
    });
  });

  test.each(['sweep', 'scrub'])('a %s as a job', async (kind) => {
    const { ask } = await startAdmin();
    const started = await ask('/jobs', { method: 'POST', body: { kind } });
    expect(started.status).toBe(202);
    const path = `/jobs/${started.json.id}`;
    expect(started.headers.location).toBe(`/admin/v1${path}`);
    await expect.poll(async () => (await ask(path)).json.state).toBe('finished');
    expect((await ask(path)).json).toMatchObject({ kind, asked: { kind }, report: { durationMs: expect.any(Number) } });
    expect((await ask('/jobs')).json.jobs).toEqual([
      expect.objectContaining({ id: started.json.id, state: 'finished' }),
    ]);
    expect((await ask(path, { method: 'DELETE' })).json.state).toBe('finished');
  });

  test('statistics', async () => {
    const { ask, cache } = await startAdmin();
    await (await cache.fetch(new Request('http://cache/v2/my-own/team/app/manifests/1'))).arrayBuffer();
    const { json } = await ask('/statistics');
    expect(json.total).toMatchObject({ requests: 1, hits: 0, errors: 1 });
    expect(json.upstreams).toMatchObject([{ key: 'my-own', requests: 1, status: { mode: 'normal' } }]);
  });

  test('metrics, where the host gives some', async () => {
    const metrics = { contentType: 'text/plain; version=0.0.4', text: () => 'a 1\n' };
    const { ask } = await startAdmin({ metrics });
    const told = await ask('/metrics');
    expect([told.text, told.headers['content-type']]).toEqual(['a 1\n', metrics.contentType]);
  });

  test('no metrics, where it gives none', async () => {
    const { ask } = await startAdmin();
    expect((await ask('/metrics')).json).toMatchObject({ status: 404, code: 'unsupported' });
  });
});
