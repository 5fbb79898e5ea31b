import { localCoordinator, memoryStorage } from '@proxycache/core';
import { htmlPage, startFakeUpstream } from '@proxycache/test-kit';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { optionNames } from '../architecture/documented.ts';
import { readSources } from '../architecture/source-file.ts';
import { openAdmin, startAdmin } from './admin-under-test.ts';
import { api } from './check-answer.ts';

const { ask, stop } = await openAdmin();
afterAll(stop);

const add = (options: object) => ask('/upstreams', { method: 'POST', body: options });
const at = 'http://127.0.0.1:1';

/** What lies at a path below the document's schemas. @throws Error when nothing does */
function schemaAt(...path: string[]): object {
  let found: unknown = api;
  for (const name of ['components', 'schemas', ...path]) found = (found as Record<string, unknown> | undefined)?.[name];
  if (typeof found !== 'object' || found === null) throw new Error(`the document has no schema at ${path.join('.')}`);
  return found;
}

describe('the document', () => {
  const source = readSources('packages/core/src/upstream').find(({ path }) => path.endsWith('/upstream-options.ts'))!;
  const topNames = (name: string) =>
    optionNames(source, name)
      .filter((one) => !one.includes('.'))
      .sort();
  const propertiesAt = (...path: string[]) => Object.keys(schemaAt(...path, 'properties')).sort();

  test('has every option that an upstream has', () => {
    const names = topNames('UpstreamOptions');
    const options = ['UpstreamOptions', 'properties'];
    expect(propertiesAt('UpstreamOptions')).toEqual(names);
    expect(propertiesAt('UpstreamChange')).toEqual(names.filter((name) => name !== 'key'));
    expect(propertiesAt(...options, 'endpoints', 'items', 'anyOf', '1')).toEqual(topNames('UpstreamEndpoint'));
    expect(propertiesAt(...options, 'tls')).toEqual(topNames('UpstreamTls'));
    expect(propertiesAt(...options, 'limits')).toEqual(expect.arrayContaining(topNames('UpstreamLimits')));
  });

  test('shows no field for a secret in what is told of one', () => {
    const told = JSON.stringify([schemaAt('Upstream'), schemaAt('AuthSummary')]);
    expect(told).not.toMatch(/"(password|token|key)":\{[^}]*writeOnly/);
  });
});

describe('a secret', () => {
  const secret = '271828182845';
  const options = {
    key: 'with-secrets',
    url: at,
    auth: { username: 'me', password: secret },
    proxy: `http://me:${secret}@127.0.0.1:2`,
    endpoints: [{ url: 'http://127.0.0.1:3', auth: { token: secret } }],
  };

  test('that comes with an upstream is told nowhere', async () => {
    const answers = [
      await add(options),
      await ask('/upstreams'),
      await ask('/upstreams/with-secrets'),
      await ask('/upstreams/with-secrets', { method: 'PATCH', body: { auth: { token: secret } } }),
      await ask('/upstreams/with-secrets/check', { method: 'POST' }),
      await ask('/check', { method: 'POST', body: options }),
      await add(options),
      // Each of these is wrong somewhere.
      await add({ ...options, key: secret.replaceAll('2', ' ') }),
      await add({ ...options, url: `http://me:${secret}@127.0.0.1` }),
      await add({ ...options, auth: secret }),
      await add({ ...options, auth: { username: 'me', password: [secret] } }),
      await add({ ...options, auth: { username: 'me', pasword: secret } }),
      await add({ ...options, auth: { usrname: 'me', password: secret } }),
      await add({ ...options, tls: { key: secret } }),
      await add({ ...options, hosts: [`https://me:${secret}@registry.example`] }),
      await add({ ...options, tokenHosts: [`me:${secret}@registry.example`] }),
      await add({ ...options, allowPrivate: [`me:${secret}@registry.example`] }),
      await add({ ...options, proxy: `me:${secret}@nowhere` }),
      await add({ ...options, endpoints: [{ url: 1, auth: { token: secret } }] }),
      await ask('/upstreams/with-secrets', { method: 'PATCH', body: { proxy: `socks:${secret}@x` } }),
    ];
    for (const { status, text } of answers) {
      expect([status, text]).not.toEqual([500, expect.anything()]);
      expect(text).not.toContain(secret);
    }
    expect(answers[0]?.json).toMatchObject({ auth: { kind: 'basic', username: 'me' }, proxy: 'http://127.0.0.1:2/' });
    expect(answers.slice(7).map(({ status }) => status)).toEqual(new Array(13).fill(400));
  });

  test('is asked for again where it would go elsewhere', async () => {
    await add({ key: 'moves', url: at, auth: { token: secret } });
    const change = (body: object) => ask('/upstreams/moves', { method: 'PATCH', body });
    for (const body of [{ url: 'http://127.0.0.1:9' }, { proxy: 'http://127.0.0.1:9' }, { tls: { insecure: true } }]) {
      expect((await change(body)).json).toMatchObject({ status: 400, code: 'secret-required' });
      expect((await change({ ...body, auth: { token: secret } })).status).toBe(200);
    }
  });
});

test('an upstream that is added over the API is there for another replica and after a restart, and its secret is told by none', async () => {
  const secret = '314159265358';
  const shared = { metadata: memoryStorage().metadata, coordinator: localCoordinator() };
  const replica = async () => {
    const storage = { ...memoryStorage(), ...shared };
    return await openAdmin({}, { storage, persistUpstreams: { encryptionKey: 'k'.repeat(32) } });
  };
  const upstream = await startFakeUpstream({ auth: { basic: { username: 'me', password: secret } } });
  onTestFinished(() => upstream.stop());
  upstream.addImage('team/app', { tag: '1' });
  const [one, two] = [await replica(), await replica()];
  const body = { key: 'lab', url: upstream.url, auth: { username: 'me', password: secret } };
  expect((await one.ask('/upstreams', { method: 'POST', body })).status).toBe(201);
  const pulled = async (from: typeof one) => (await from.askRaw('/v2/lab/team/app/manifests/1')).status;
  expect(await pulled(one)).toBe(200);
  await expect.poll(() => pulled(two)).toBe(200);
  expect((await two.ask('/upstreams/lab', { method: 'PATCH', body: { mode: 'local-first' } })).status).toBe(200);
  await Promise.all([one.stop(), two.stop()]);

  const after = await replica();
  onTestFinished(after.stop);
  await expect.poll(() => pulled(after)).toBe(200);
  const told = await after.ask('/upstreams/lab');
  expect(told.json).toMatchObject({ mode: 'local-first', auth: { kind: 'basic', username: 'me' }, revision: 2 });
  expect(told.text).not.toContain(secret);
  expect((await after.ask('/upstreams/lab/check', { method: 'POST' })).json.ok).toBe(true);
  expect((await after.ask('/upstreams/lab', { method: 'DELETE' })).status).toBe(204);
  expect(await pulled(after)).toBe(404);
});

describe('files and programs of the host', () => {
  const named = [
    { usernameFile: '/etc/passwd', passwordFile: '/etc/shadow' },
    { helper: 'desktop' },
    { exec: ['/bin/sh', '-c', 'id'] },
  ];

  test.each(named)('are not taken over the API: %j', async (auth) => {
    for (const options of [{ auth }, { endpoints: [{ url: 'http://127.0.0.1:2', auth }] }]) {
      const body = { key: 'host-files', url: at, ...options };
      expect((await add(body)).json).toMatchObject({ status: 403, code: 'denied' });
      expect((await ask('/check', { method: 'POST', body })).status).toBe(403);
      expect((await ask('/upstreams/my-own', { method: 'PATCH', body: options })).status).toBe(403);
    }
    expect((await ask('/upstreams/host-files')).status).toBe(404);
  });

  test('are, where the host allows them', async () => {
    const allowing = await startAdmin({ allow: { hostCredentials: true } });
    const body = { key: 'host-files', url: at, auth: { helper: 'desktop' } };
    expect((await allowing.ask('/upstreams', { method: 'POST', body })).json.auth).toEqual({ kind: 'helper' });
  });
});

describe('a secret of the host, known by its reference', () => {
  const persistUpstreams = { secretOf: async () => ({ token: '271828182845' }) };
  const reference = { reference: 'vault/hub' };

  test('is not sent to a place that somebody names over the API', async () => {
    const upstreams = [{ key: 'hub', url: at, auth: reference }];
    const guarded = await startAdmin({}, { persistUpstreams, upstreams });
    const elsewhere = 'http://127.0.0.1:9';
    const asked = [
      await guarded.ask('/upstreams', { method: 'POST', body: { key: 'thief', url: elsewhere, auth: reference } }),
      await guarded.ask('/check', { method: 'POST', body: { key: 'thief', url: elsewhere, auth: reference } }),
      await guarded.ask('/upstreams/hub', { method: 'PATCH', body: { url: elsewhere, auth: reference } }),
      await guarded.ask('/upstreams/hub', {
        method: 'PATCH',
        body: { endpoints: [{ url: elsewhere, auth: reference }], auth: 'anonymous' },
      }),
    ];
    for (const { json } of asked) expect(json).toMatchObject({ status: 403, code: 'denied' });
    const moved = await guarded.ask('/upstreams/hub', { method: 'PATCH', body: { url: elsewhere } });
    expect(moved.json).toMatchObject({ status: 400, code: 'secret-required' });
    expect((await guarded.ask('/upstreams/hub', { method: 'PATCH', body: { freshFor: '1m' } })).json).toMatchObject({
      url: at,
      auth: { kind: 'reference' },
    });
  });

  test('may be named where the host says so', async () => {
    const allowing = await startAdmin({ allow: { references: true } }, { persistUpstreams });
    const told = await allowing.ask('/upstreams', { method: 'POST', body: { key: 'hub', url: at, auth: reference } });
    expect(told.json.auth).toEqual({ kind: 'reference', reference: 'vault/hub' });
  });
});

test('a duration without an end is told as such, and taken as it is told', async () => {
  const { cache, ask: asking } = await startAdmin();
  await cache.upstreams.add({ key: 'endless', url: at, freshFor: Number.POSITIVE_INFINITY });
  const told = await asking('/upstreams/endless');
  expect(told.json.freshFor).toBe('unlimited');
  const { freshFor } = told.json;
  const body = { freshFor, staleIfErrorFor: freshFor, timeouts: { idle: freshFor } };
  expect((await asking('/upstreams/endless', { method: 'PATCH', body })).json).toMatchObject(body);
  expect(cache.upstreams.list()[1]).toMatchObject({
    freshFor: Number.POSITIVE_INFINITY,
    timeouts: { idle: Number.POSITIVE_INFINITY },
  });
});

test('an upstream that is wrong is refused by the path of what is wrong', async () => {
  expect((await add({ key: 'wrong', url: at, freshfor: 1 })).json.detail).toMatch(
    /^body: there is no field "freshfor"/,
  );
  expect((await add({ key: 'wrong', url: at, freshFor: 'soon' })).json.detail).toMatch(/freshFor: expected a duration/);
  expect((await add({ key: 'Wrong', url: at })).json).toMatchObject({ status: 400, code: 'invalid-options' });
  expect((await add({ key: 'wrong' })).json.detail).toBe('body.url: expected to be given');
});

test('a page of another site cannot add one, and a key cannot lead a Location elsewhere', async () => {
  const headers = { origin: 'https://evil.example' };
  const body = { key: 'evil', url: at };
  expect((await ask('/upstreams', { method: 'POST', body, headers })).status).toBe(403);
  for (const key of ['//evil.example', 'a\r\nset-cookie: a=b', '../jobs']) {
    const told = await add({ key, url: at });
    expect([told.status, told.headers.location]).toEqual([400, undefined]);
  }
});

test('each way a check can fail is told by a reason and a message of its own, before the upstream is one and after', async () => {
  const start = async (options?: Parameters<typeof startFakeUpstream>[0]) => {
    const upstream = await startFakeUpstream(options);
    onTestFinished(() => upstream.stop());
    return upstream;
  };
  const [plain, wanting, portal, other] = await Promise.all([
    start(),
    start({ auth: { basic: { username: 'me', password: '271828' } } }),
    start(),
    start(),
  ]);
  portal.serve('/v2/', () => htmlPage(200, 'Sign in'));
  other.serve('/v2/', () => ({ status: 404, headers: {}, body: 'no such page' }));
  const flaws = {
    'http://registry.invalid': 'dns',
    [at]: 'refused',
    [plain.url.replace('http:', 'https:')]: 'tls',
    [wanting.url]: 'credentials-wanted',
    [portal.url]: 'web-page',
    [other.url]: 'no-registry',
  };
  const messages = new Set<string>();
  for (const [index, [url, reason]] of Object.entries(flaws).entries()) {
    const body = { key: `flaw-${index}`, url };
    const before = (await ask('/check', { method: 'POST', body })).json;
    expect((await add(body)).status).toBe(201);
    const after = (await ask(`/upstreams/${body.key}/check`, { method: 'POST' })).json;
    for (const { ok, endpoints } of [before, after]) {
      expect([url, ok, endpoints[0].reason]).toEqual([url, false, reason]);
      messages.add(endpoints[0].message.replace(body.key, '…').replace(new URL(url).host, '…'));
    }
  }
  expect(messages.size).toBe(6);
  expect((await ask('/check', { method: 'POST', body: { key: 'sound', url: plain.url } })).json.ok).toBe(true);
  expect((await ask('/upstreams/sound')).status).toBe(404);
});
