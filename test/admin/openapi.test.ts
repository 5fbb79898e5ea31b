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
    const listed = await ask('/upstreams');
    expect(listed.json.upstreams).toEqual([{ key: 'my-own', mode: 'normal', state: 'closed', hosts: [] }]);
    expect((await ask('/upstreams/my-own')).json).toEqual({
      key: 'my-own',
      mode: 'normal',
      state: 'closed',
      hosts: [],
    });
    expect((await ask('/upstreams/other')).json).toMatchObject({ status: 404, code: 'name-unknown' });
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
