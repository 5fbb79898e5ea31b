import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CacheConfig, type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import { htpasswdUser } from '../peers/registry-peer.ts';
import { startTokenServer, type TokenServer } from '../peers/token-server.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { startSkopeo } from './skopeo.ts';
import { configFor, hasPrograms, startUpstream, upstreamKey } from './world.ts';

const account = { username: 'robot', password: 'secret' };
const image = { repository: 'team/private', tag: '1.0' };

/** What a client is told: the status, the code and message of the body, and whether it is asked who it is. */
async function ask(cache: CacheProcess, path: string) {
  const response = await fetch(`${cache.url}/v2/${upstreamKey}/${path}`);
  const text = await response.text();
  const [error] = response.ok ? [] : (JSON.parse(text) as { errors: { code: string; message: string }[] }).errors;
  return { status: response.status, challenge: response.headers.get('www-authenticate'), ...error };
}

describe.skipIf(!hasPrograms({ skopeo: 'skopeo', openssl: 'openssl' }))('an upstream that asks who we are', () => {
  let built: Image;
  let upstream: UpstreamPeer;
  const caches: CacheProcess[] = [];

  beforeAll(async () => {
    built = buildImage({ name: 'private', message: 'private', program: await compileHello() });
  });
  afterEach(async () => {
    for (const cache of caches.splice(0)) await cache.close();
  });

  const startCache = async (more: Partial<CacheConfig['upstreams'][0]> = {}): Promise<CacheProcess> => {
    const cache = await startCacheProcess(configFor(upstream, more));
    caches.push(cache);
    return cache;
  };
  const pull = async (cache: CacheProcess): Promise<string> => {
    const skopeo = await startSkopeo({ cacheUrl: cache.url, upstreamKey, environment: {} });
    try {
      return await skopeo.pull(image);
    } finally {
      await skopeo.close();
    }
  };

  describe('by name and password', () => {
    beforeAll(async () => {
      upstream = await startUpstream({ kind: 'htpasswd' });
      await upstream.push(image.repository, image.tag, built);
    });
    afterAll(() => upstream.close());

    it('is pulled from with the credential of the cache, by a client that has none', async () => {
      const cache = await startCache({ auth: htpasswdUser });
      expect(await pull(cache)).toBe(built.manifest.digest);
      upstream.takeRequests();
      expect(await pull(cache)).toBe(built.manifest.digest);
      expect(upstream.takeRequests()).toEqual(['HEAD /v2/team/private/manifests/1.0']);
    });

    it('denies what the cache has no credential for: 403 in our words, without its challenge', async () => {
      const answer = await ask(await startCache(), 'team/private/manifests/1.0');
      expect(answer).toMatchObject({ status: 403, code: 'DENIED', challenge: null });
      expect(answer.message).toMatch(/does not exist or needs other credentials/);
    });

    it('refuses the credential itself: 502 that says so, and never the credential', async () => {
      const cache = await startCache({ auth: { username: 'cache', password: 'wrong-secret' } });
      const answer = await ask(cache, 'team/private/manifests/1.0');
      expect(answer).toMatchObject({ status: 502, challenge: null });
      expect(answer.message).toMatch(/credential/);
      expect(JSON.stringify(answer) + cache.output()).not.toContain('wrong-secret');
    });
  });

  describe('by token', () => {
    let tokens: TokenServer;
    beforeAll(async () => {
      tokens = await startTokenServer({
        users: { [account.username]: account.password },
        repositories: { 'team/private': 'private', 'team/public': 'public' },
      });
      upstream = await startUpstream({ kind: 'token', server: tokens });
      await upstream.push('team/private', '1.0', built);
      await upstream.push('team/public', '1.0', built);
    });
    afterEach(() => tokens.setLifetime(300));
    afterAll(async () => {
      await upstream.close();
      await tokens.stop();
    });
    const withAccount = () => ({ auth: account, tokenHosts: [tokens.host] });

    it('gives a private repository to the account of the cache, with one token for a whole pull', async () => {
      const cache = await startCache(withAccount());
      tokens.takeRequests();
      expect(await pull(cache)).toBe(built.manifest.digest);
      expect(tokens.takeRequests()).toEqual([
        { method: 'GET', user: account.username, scopes: ['repository:team/private:pull'], status: 200 },
      ]);
      upstream.takeRequests();
      expect(await pull(cache)).toBe(built.manifest.digest);
      expect(upstream.takeRequests()).toEqual(['HEAD /v2/team/private/manifests/1.0']);
    });

    it('gives a public repository to a cache without an account', async () => {
      expect((await ask(await startCache(), 'team/public/manifests/1.0')).status).toBe(200);
    });

    it('is asked again with a new token when the old one has expired before its time', async () => {
      tokens.setLifetime(1, 300);
      const cache = await startCache(withAccount());
      expect(await pull(cache)).toBe(built.manifest.digest);
      const refused = () =>
        fetch(`${upstream.url}/v2/team/private/tags/list`, { headers: { authorization: `Bearer ${probe}` } });
      // Made after the token of the cache, so it is good for longer.
      const probe = tokens.issue('team/private', ['pull']);
      await expect.poll(async () => (await refused()).status, { timeout: 10_000 }).toBe(401);
      tokens.setLifetime(300);
      upstream.takeAllRequests();
      expect(await pull(cache)).toBe(built.manifest.digest);
      const asked = upstream.takeAllRequests().map(({ method, path, status }) => `${method} ${path} ${status}`);
      expect(asked).toEqual(['HEAD /v2/team/private/manifests/1.0 401', 'HEAD /v2/team/private/manifests/1.0 200']);
    });

    it('denies a private repository to a cache without an account, and says what that may mean', async () => {
      const answer = await ask(await startCache(), 'team/private/manifests/1.0');
      expect(answer).toMatchObject({ status: 403, code: 'DENIED', challenge: null });
      expect(answer.message).toMatch(/does not exist or needs other credentials/);
    });

    it('answers 401 for a repository that does not exist: 403, or 404 where the upstream is known for it', async () => {
      const missing = 'team/missing/manifests/1.0';
      expect(await ask(await startCache(withAccount()), missing)).toMatchObject({ status: 403, challenge: null });
      const knowing = await startCache({ ...withAccount(), deniedMayMeanAbsent: true });
      expect(await ask(knowing, missing)).toMatchObject({ status: 404, challenge: null });
    });

    it('is not asked again and again with a password that its token server refused', async () => {
      const cache = await startCache({ ...withAccount(), auth: { ...account, password: 'wrong-secret' } });
      tokens.takeRequests();
      for (let i = 0; i < 3; i++) {
        const answer = await ask(cache, 'team/private/manifests/1.0');
        expect(answer).toMatchObject({ status: 502, challenge: null });
        expect(answer.message).toMatch(/credential/);
      }
      // One refusal, and the retry that a refused credential is given.
      expect(tokens.takeRequests().length).toBeLessThanOrEqual(2);
      expect(cache.output()).not.toContain('wrong-secret');
    });

    it('is served from the cache while its token server closes every connection', async () => {
      tokens.setLifetime(1, 1);
      const cache = await startCache(withAccount());
      expect(await pull(cache)).toBe(built.manifest.digest);
      // Not stopped: on a busy machine somebody else may be given its port, and answer there.
      const heal = tokens.on({}, { drop: 'rst' });
      await cache.restart();
      expect(await pull(cache)).toBe(built.manifest.digest);
      heal();
    });
  });
});
