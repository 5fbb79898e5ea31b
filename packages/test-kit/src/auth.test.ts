import { describe, expect, onTestFinished, test } from 'vitest';
import type { BearerAuth } from './auth.ts';
import { type FakeUpstream, type FakeUpstreamOptions, startFakeUpstream } from './fake-upstream.ts';
import { manualClock } from './manual-clock.ts';

async function started(options: FakeUpstreamOptions): Promise<FakeUpstream> {
  const upstream = await startFakeUpstream(options);
  onTestFinished(() => upstream.stop());
  for (const name of ['open', 'secret']) upstream.addImage(name, { tag: '1' });
  return upstream;
}

const bearer: BearerAuth = {
  public: ['open'],
  users: { ann: { password: 'pw' }, bob: { password: 'pw', repositories: [] } },
};
const basic = (name: string, password: string) => `Basic ${btoa(`${name}:${password}`)}`;

function ask(upstream: FakeUpstream, path: string, authorization?: string): Promise<Response> {
  return fetch(`${upstream.url}/v2/${path}`, authorization ? { headers: { authorization } } : {});
}

/** Follows the challenge of a repository, as clients do. */
async function askToken(upstream: FakeUpstream, repository: string, authorization?: string): Promise<Response> {
  const challenge = (await ask(upstream, `${repository}/manifests/1`)).headers.get('www-authenticate') ?? '';
  const part = (name: string) => new RegExp(`${name}="([^"]+)"`).exec(challenge)?.[1] ?? '';
  const query = new URLSearchParams({ service: part('service'), scope: part('scope') });
  return fetch(`${part('realm')}?${query}`, authorization ? { headers: { authorization } } : {});
}

async function bearerOf(answer: Response): Promise<string> {
  const { token, access_token } = (await answer.json()) as { token?: string; access_token?: string };
  return `Bearer ${token ?? access_token}`;
}

async function tokenFor(upstream: FakeUpstream, repository: string, authorization?: string): Promise<string> {
  return bearerOf(await askToken(upstream, repository, authorization));
}

const manifest = async (upstream: FakeUpstream, repository: string, authorization?: string) =>
  (await ask(upstream, `${repository}/manifests/1`, authorization)).status;

describe('basic', () => {
  test('lets in the one name and password', async () => {
    const upstream = await started({ auth: { basic: { username: 'ann', password: 'a:b' } } });
    const refused = await ask(upstream, '');
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, `Basic realm="${upstream.url}"`]);
    expect(await manifest(upstream, 'open', basic('ann', 'wrong'))).toBe(401);
    expect(await manifest(upstream, 'open', basic('ann', 'a:b'))).toBe(200);
  });
});

describe('bearer', () => {
  test('challenges with realm, service and scope, and gives tokens for just that scope', async () => {
    const upstream = await started({ auth: { bearer } });
    const refused = await ask(upstream, 'open/manifests/1');
    const scope = 'scope="repository:open:pull"';
    expect(refused.headers.get('www-authenticate')).toBe(
      `Bearer realm="${upstream.url}/token",service="${upstream.host}",${scope}`,
    );
    const token = await tokenFor(upstream, 'open');
    expect(await manifest(upstream, 'open', token)).toBe(200);
    const other = await ask(upstream, 'secret/manifests/1', token);
    expect([other.status, other.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('error="insufficient_scope"'),
    ]);
    expect((await ask(upstream, '', token)).status).toBe(200);
    expect((await ask(upstream, '', 'Bearer made-up')).status).toBe(401);
    expect(upstream.tokenCalls()).toBe(1);
  });

  test('lets users pull what is theirs, and nobody else', async () => {
    const upstream = await started({ auth: { bearer } });
    const statuses: number[] = [];
    for (const who of [undefined, basic('bob', 'pw'), basic('ann', 'pw')]) {
      statuses.push(await manifest(upstream, 'secret', await tokenFor(upstream, 'secret', who)));
    }
    expect(statuses).toEqual([401, 401, 200]);
    expect((await askToken(upstream, 'secret', basic('ann', 'wrong'))).status).toBe(401);
    expect((await askToken(upstream, 'secret', basic('toString', 'x'))).status).toBe(401);
  });

  test('tokens expire when it was said', async () => {
    const clock = manualClock();
    const upstream = await started({ clock, auth: { bearer: { ...bearer, expiresIn: 300, field: 'access_token' } } });
    expect(await (await askToken(upstream, 'open')).json()).toEqual({
      access_token: expect.any(String),
      expires_in: 300,
    });
    const token = await tokenFor(upstream, 'open');
    await clock.advance(299_000);
    expect(await manifest(upstream, 'open', token)).toBe(200);
    await clock.advance(1_000);
    expect(await manifest(upstream, 'open', token)).toBe(401);
  });

  test('tokens live for a minute where nothing was said', async () => {
    const clock = manualClock();
    const upstream = await started({ clock, auth: { bearer } });
    expect(await (await askToken(upstream, 'open')).json()).toEqual({ token: expect.any(String) });
    const token = await tokenFor(upstream, 'open');
    await clock.advance(60_000);
    expect(await manifest(upstream, 'open', token)).toBe(401);
  });

  test('tokens can be revoked', async () => {
    const upstream = await started({ auth: { bearer } });
    const token = await tokenFor(upstream, 'open');
    upstream.revokeTokens();
    expect(await manifest(upstream, 'open', token)).toBe(401);
    expect(await manifest(upstream, 'open', await tokenFor(upstream, 'open'))).toBe(200);
  });

  test('tokens can come from another host, which counts and fails by itself', async () => {
    const tokens = await startFakeUpstream();
    onTestFinished(() => tokens.stop());
    const upstream = await started({ auth: { bearer: { ...bearer, at: tokens } } });
    expect(await manifest(upstream, 'open', await tokenFor(upstream, 'open'))).toBe(200);
    expect([upstream.tokenCalls(), tokens.count({ path: '/token' })]).toEqual([1, 1]);
    tokens.on({ path: '/token' }, { status: 503 });
    expect((await askToken(upstream, 'open')).status).toBe(503);
  });

  test('POST gives a token by OAuth2 only where it is switched on', async () => {
    const form = { grant_type: 'password', username: 'ann', password: 'pw', scope: 'repository:secret:pull' };
    const post = (upstream: FakeUpstream) =>
      fetch(`${upstream.url}/token`, { method: 'POST', body: new URLSearchParams(form) });
    expect((await post(await started({ auth: { bearer } }))).status).toBe(404);
    const upstream = await started({ auth: { bearer: { ...bearer, post: true } } });
    expect(await manifest(upstream, 'secret', await bearerOf(await post(upstream)))).toBe(200);
  });
});

describe('personalities of registries', () => {
  test('docker-hub says 401 for what is missing, even to a good token, and 404 for a missing tag', async () => {
    const upstream = await started({ auth: { bearer: {} }, personality: 'docker-hub' });
    expect(await manifest(upstream, 'nothing', await tokenFor(upstream, 'nothing'))).toBe(401);
    const token = await tokenFor(upstream, 'open');
    expect((await ask(upstream, 'open/manifests/2', token)).status).toBe(404);
    expect((await ask(upstream, 'open/manifests/1', token)).headers.get('ratelimit-limit')).toBe('100;w=21600');
  });

  test('a registry that hides nothing says 404 for what is missing', async () => {
    const upstream = await started({ auth: { bearer: {} } });
    expect(await manifest(upstream, 'nothing', await tokenFor(upstream, 'nothing'))).toBe(404);
  });

  test('ghcr says 403 at the token service for what is missing or private', async () => {
    const upstream = await started({ auth: { bearer }, personality: 'ghcr' });
    for (const repository of ['nothing', 'secret']) {
      const refused = await askToken(upstream, repository);
      expect(refused.status).toBe(403);
      expect(await refused.json()).toMatchObject({ errors: [{ code: 'DENIED' }] });
    }
    expect((await askToken(upstream, 'secret', basic('ann', 'pw'))).status).toBe(200);
    const { digest } = upstream.addImage('open').root;
    expect((await ask(upstream, `open/referrers/${digest}`, await tokenFor(upstream, 'open'))).status).toBe(404);
  });

  test('ecr says 403 without a challenge once the credential has expired', async () => {
    const upstream = await started({ auth: { basic: { username: 'AWS', password: 'old' } }, personality: 'ecr' });
    expect(await manifest(upstream, 'open')).toBe(401);
    expect(await manifest(upstream, 'open', basic('AWS', 'old'))).toBe(200);
    upstream.change({ auth: { basic: { username: 'AWS', password: 'new' } } });
    const refused = await ask(upstream, 'open/manifests/1', basic('AWS', 'old'));
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([403, null]);
    expect(await manifest(upstream, 'open', basic('AWS', 'new'))).toBe(200);
  });

  test('ecr-public says 400 once the token has expired', async () => {
    const upstream = await started({ auth: { bearer }, personality: 'ecr-public' });
    const token = await tokenFor(upstream, 'open');
    upstream.revokeTokens();
    expect(await manifest(upstream, 'open', token)).toBe(400);
  });
});
