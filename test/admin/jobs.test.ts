import { createAdmin } from '@proxycache/admin';
import {
  createProxyCache,
  memoryStorage,
  type ProxyCache,
  type SweepOptions,
  type SweepReport,
} from '@proxycache/core';
import { chunkGate, gate, startFakeUpstream } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startAdmin } from './admin-under-test.ts';

const report: SweepReport = {
  dryRun: false,
  elsewhere: false,
  ...{ repositories: 0, tags: 0, manifests: 0, blobs: 0, files: 0, bytes: 0 },
  ...{ removals: [], paused: [], unread: [], durationMs: 1 },
};

const sweep = { method: 'POST', body: { kind: 'sweep' } };

/** A cache whose sweeps go on until the gate opens, or their signal says otherwise. */
async function startHeld(options: Parameters<typeof startAdmin>[0] = {}) {
  const held = gate();
  const started: SweepOptions[] = [];
  const under = await startAdmin(options, {
    upstreams: [{ key: 'my-own', url: 'http://127.0.0.1:1' }],
    storage: memoryStorage(),
  });
  under.cache.sweep = async (how = {}) => {
    started.push(how);
    how.onProgress?.({ ...report, repositories: 7 });
    await held.pass(how.signal ?? new AbortController().signal);
    return report;
  };
  onTestFinished(() => held.open());
  return { ...under, held, started };
}

describe('a job', () => {
  test('goes on when whoever started it has left, and says how far it is', async () => {
    const { ask, held } = await startHeld();
    const { json: job } = await ask('/jobs', sweep);
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.progress).toMatchObject({ repositories: 7 });
    held.open();
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state).toBe('finished');
    const { json: ended } = await ask(`/jobs/${job.id}`);
    expect(ended).toMatchObject({ report, endedAt: expect.any(Number) });
    expect(ended).not.toHaveProperty('progress');
  });

  test('that is cancelled ends, and cancelled again changes nothing', async () => {
    const { ask, started } = await startHeld();
    const { json: job } = await ask('/jobs', sweep);
    const cancel = () => ask(`/jobs/${job.id}`, { method: 'DELETE' });
    await expect.poll(() => started).toHaveLength(1);
    const both = await Promise.all([cancel(), cancel()]);
    expect(both.map(({ status }) => status)).toEqual([202, 202]);
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state).toBe('cancelled');
    const before = (await ask(`/jobs/${job.id}`)).json;
    expect((await cancel()).json).toEqual(before);
    expect(before).not.toHaveProperty('problem');
  });

  test('that fails says why, and a defect says nothing to clients', async () => {
    const errors: unknown[] = [];
    const { ask, cache } = await startHeld({ onError: (error) => errors.push(error) });
    cache.sweep = () => Promise.reject(new Error('271828'));
    const { json: job } = await ask('/jobs', sweep);
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state).toBe('failed');
    const told = await ask(`/jobs/${job.id}`);
    expect(told.json.problem).toMatchObject({ status: 500, code: 'internal-error' });
    expect(told.text).not.toContain('271828');
    expect(errors).toEqual([new Error('271828')]);
  });

  test('of a cache that was closed fails as such', async () => {
    const { ask, cache } = await startAdmin();
    await cache.close({ graceMs: 0 });
    const { json: job } = await ask('/jobs', sweep);
    await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.problem).toMatchObject({ code: 'closed' });
  });
});

test('a job that warms an image says how far it is, also within a blob, and is cancelled in the middle of it', async () => {
  const upstream = await startFakeUpstream();
  onTestFinished(() => upstream.stop());
  const platforms = ['linux/amd64', 'linux/arm64'];
  const image = upstream.addImage('team/app', { tag: '1', platforms, layerSizes: [3_000_000] });
  const chunks = chunkGate(100_000);
  for (const { digest } of image.blobs) upstream.on({ method: 'GET', digest }, { throttle: chunks });
  const { ask, cache } = await startAdmin({}, { upstreams: [{ key: 'my-own', url: upstream.url }] });
  const body = { kind: 'warm', references: ['my-own/team/app:1', 'my-own/team/none:1'], platforms };
  const at = `/jobs/${(await ask('/jobs', { method: 'POST', body })).json.id}`;
  chunks.allow(3);
  await expect
    .poll(async () => (await ask(at)).json.progress, { timeout: 20_000 })
    .toMatchObject({ references: { total: 2, done: 1, failed: 1 } });
  await expect.poll(async () => (await ask(at)).json.progress.bytes.done, { timeout: 20_000 }).toBeGreaterThan(200_000);
  const { known, done } = (await ask(at)).json.progress.bytes;
  expect(known).toBeGreaterThan(6_000_000);
  expect(done).toBeLessThan(known);
  expect((await ask(at, { method: 'DELETE' })).status).toBe(202);
  await expect.poll(async () => (await ask(at)).json.state, { timeout: 20_000 }).toBe('cancelled');
  chunks.open();
  await expect.poll(() => upstream.underWay(), { timeout: 20_000 }).toBe(0);
  expect(await cache.has('my-own/team/app:1')).toBe(false);
});

describe('jobs', () => {
  test('that flood it are refused over maxJobs, and taken again when one has ended', async () => {
    const { ask, held } = await startHeld({ maxJobs: 3 });
    const asked = await Promise.all(Array.from({ length: 10 }, () => ask('/jobs', sweep)));
    expect(asked.filter(({ status }) => status === 202)).toHaveLength(3);
    const refused = asked.find(({ status }) => status === 503);
    expect(refused?.json.code).toBe('too-many-requests');
    expect(refused?.headers['retry-after']).toBe('5');
    held.open();
    await expect.poll(async () => (await ask('/jobs', sweep)).status).toBe(202);
  });

  test('that ended are kept up to 50, the newest first', async () => {
    const { ask, held } = await startHeld();
    held.open();
    const ids: string[] = [];
    for (let index = 0; index < 60; index++) {
      const { json: job } = await ask('/jobs', sweep);
      ids.push(job.id);
      await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state, { interval: 1 }).toBe('finished');
    }
    const listed = (await ask('/jobs')).json.jobs.map(({ id }: { id: string }) => id);
    expect(listed).toEqual(ids.slice(10).reverse());
    expect((await ask(`/jobs/${ids[0]}`)).json).toMatchObject({ status: 404, code: 'name-unknown' });
  });

  test('that ran for long are there when they end, however many ended meanwhile', async () => {
    const { ask, cache, held, started } = await startHeld();
    const { json: long } = await ask('/jobs', sweep);
    await expect.poll(() => started).toHaveLength(1);
    cache.sweep = async () => report;
    for (let index = 0; index < 55; index++) {
      const { json: job } = await ask('/jobs', sweep);
      await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state, { interval: 1 }).toBe('finished');
    }
    held.open();
    await expect.poll(async () => (await ask(`/jobs/${long.id}`)).json).toMatchObject({ state: 'finished', report });
  });

  test('that ended hold no more than 16 MiB, whatever they report', async () => {
    const { ask, cache } = await startAdmin();
    const removal = { kind: 'tag', tagOrDigest: '1', reason: 'x'.repeat(1024) } as const;
    cache.sweep = async () => ({ ...report, removals: new Array(1000).fill(removal) });
    for (let index = 0; index < 20; index++) {
      const { json: job } = await ask('/jobs', sweep);
      await expect.poll(async () => (await ask(`/jobs/${job.id}`)).json.state, { interval: 1 }).toBe('finished');
    }
    expect((await ask('/jobs')).json.jobs).toHaveLength(15);
  });

  test('take no text longer than what it is may be', async () => {
    const { ask } = await startAdmin();
    const long = 'x'.repeat(100_000);
    for (const body of [
      { kind: 'purge', what: { upstream: long } },
      { kind: 'purge', what: { upstream: 'my-own', repository: long } },
      { kind: 'warm', references: ['my-own/a:1'], platforms: [long] },
    ]) {
      expect((await ask('/jobs', { method: 'POST', body })).json).toMatchObject({ status: 400 });
    }
    expect((await ask('/jobs')).json.jobs).toEqual([]);
  });

  test('do not begin where the API was closed while their body came', async () => {
    const { admin, started } = await startHeld();
    const body = gate();
    const pass = new AbortController().signal;
    const answer = admin.handle({
      ...{ method: 'POST', url: '/admin/v1/jobs', basePath: '', signal: pass },
      connection: { address: '127.0.0.1', headerNames: [] },
      headers: { get: (name) => ({ host: 'localhost', 'content-type': 'application/json' })[name] ?? null },
      async body() {
        await body.pass(pass);
        return Buffer.from(JSON.stringify(sweep.body));
      },
    });
    await Promise.resolve();
    await admin.close();
    body.open();
    expect((await answer)?.status).toBe(503);
    expect(started).toEqual([]);
  });

  test('end with the API, which then takes no request; the cache goes on', async () => {
    const { ask, admin, askRaw, started } = await startHeld();
    await ask('/jobs', sweep);
    await expect.poll(() => started).toHaveLength(1);
    await Promise.all([admin.close(), admin.close()]);
    expect(started[0]?.signal?.aborted).toBe(true);
    expect((await ask('/jobs')).json).toMatchObject({ status: 503, code: 'closed' });
    expect((await askRaw('/v2/')).status).toBe(200);
  });
});

test.each([
  [{}, 'authorize'],
  [{ authorize: 'anybody' }, 'authorize'],
  [{ authorize: 'loopback-only', basePath: 'admin' }, 'basePath'],
  [{ authorize: 'loopback-only', basePath: '/' }, 'basePath'],
  [{ authorize: 'loopback-only', maxJobs: 0 }, 'maxJobs'],
  [{ authorize: 'loopback-only', within: 'soon' }, 'within'],
  [{ authorize: 'loopback-only', within: Number.POSITIVE_INFINITY }, 'within'],
  [{ authorize: 'loopback-only', publicUrl: 'https://ops.example/path' }, 'publicUrl'],
  [{ authorize: 'loopback-only', publicUrl: 'ops.example' }, 'publicUrl'],
  [{ authorize: 'loopback-only', metrics: {} }, 'metrics'],
  [{ authorize: 'loopback-only', onError: 1 }, 'onError'],
  [{ authorize: 'loopback-only', autorize: 1 }, 'autorize'],
])('options that are wrong are refused by name: %j', (options, name) => {
  const cache: ProxyCache = createProxyCache({
    upstreams: [{ key: 'my-own', url: 'http://127.0.0.1:1' }],
    storage: memoryStorage(),
  });
  onTestFinished(() => cache.close({ graceMs: 0 }));
  expect(() => createAdmin(cache, options as never)).toThrow(`createAdmin: ${name}: expected`);
});
