import { passwordVerifier, tokenService } from '@proxycache/access';
import { type Authorize, type Clock, systemClock } from '@proxycache/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DeadEnd, startDeadEnd } from '../peers/dead-end.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { requireRoot } from '../system.ts';
import { type GuardedCache, startGuardedCache } from './guarded-cache.ts';
import { type LoginClient, loginClients, loginPrograms, privateImage } from './login-clients.ts';
import { hasPrograms, startUpstream, upstreamKey } from './world.ts';

const ready = hasPrograms(loginPrograms) && requireRoot();

const alice = { user: 'alice', password: 'wonderland' };
const wrong = { user: 'alice', password: 'looking-glass' };
/** Who may not pull it. */
const eve = { user: 'eve', password: 'apple-tree' };
/** Whose tokens are good for another repository. */
const narrow = { user: 'ci', password: 'short-sighted' };

const verify = passwordVerifier({
  users: {
    alice: { password: alice.password },
    eve: { password: eve.password },
    ci: { password: narrow.password, repositories: [`${upstreamKey}/team/other`] },
  },
});
/** What each of them says. */
const sayings: Readonly<
  Record<string, { wrong: string; nobody: string; narrow: string; expired: string; denied: string }>
> = {
  skopeo: {
    wrong: 'invalid username/password',
    nobody: 'unauthorized: log in to pull this',
    narrow: `unauthorized: these credentials are not good for ${upstreamKey}/${privateImage.repository}`,
    expired: 'invalid username/password',
    denied: 'denied: it is for alice',
  },
  podman: {
    wrong: 'invalid username/password',
    nobody: 'unauthorized: log in to pull this',
    narrow: `unauthorized: these credentials are not good for ${upstreamKey}/${privateImage.repository}`,
    expired: 'invalid username/password',
    denied: 'denied: it is for alice',
  },
  docker: {
    wrong: 'unauthorized: incorrect username or password',
    nobody: "repository does not exist or may require 'docker login'",
    narrow: "repository does not exist or may require 'docker login'",
    expired: 'failed with status: 401 Unauthorized',
    denied: 'denied: it is for alice',
  },
  ctr: {
    wrong: 'failed to fetch oauth token: unexpected status: 401 Unauthorized',
    nobody: 'server message: insufficient_scope: authorization failed',
    narrow: 'server message: insufficient_scope: authorization failed',
    expired: 'server message: invalid_token: authorization failed',
    denied: '403 Forbidden',
  },
};

describe.skipIf(!ready)('a cache with a token service', () => {
  let built: Image;
  let upstream: UpstreamPeer;
  /** One that takes its tokens for as long as they say, and one whose clock is an hour ahead of who gives them. */
  let cache: GuardedCache;
  let ahead: GuardedCache;

  const access = (
    url: string,
    { clock = systemClock, lifetime = '5m' }: { clock?: Clock; lifetime?: '2s' | '5m' } = {},
  ) =>
    tokenService({
      publicUrl: url,
      verify,
      keys: { secret: 'a secret that replicas share, 32 bytes or more' },
      anonymous: true,
      // A busy machine may take a while between a token and its use.
      leeway: '1m',
      lifetime,
      clock,
    });
  const authorize: Authorize = ({ identity, repository }) => {
    if (repository.startsWith('library/')) return true;
    if (!identity) return { allow: false, reason: 'log in to pull this' };
    return identity.name !== eve.user || { allow: false, reason: 'it is for alice' };
  };

  const running: Record<string, LoginClient> = {};
  let deadEnd: DeadEnd;

  beforeAll(async () => {
    deadEnd = await startDeadEnd();
    upstream = await startUpstream();
    built = buildImage({ name: 'private', message: 'private', program: await compileHello() });
    await upstream.push(privateImage.repository, privateImage.tag, built);
    await upstream.push('library/open', '1.0', built);
    cache = await startGuardedCache(upstream, (url) => ({ ...access(url), authorize }));
    const later = { ...systemClock, now: () => systemClock.now() + 3_600_000 };
    ahead = await startGuardedCache(upstream, (url) => ({
      ...access(url),
      authenticate: access(url, { clock: later }).authenticate,
      authorize,
    }));
  });
  beforeAll(async () => {
    const start = async ([name, client]: [string, (typeof loginClients)[string]]) => {
      running[name] = await client(cache.url, deadEnd.environment);
    };
    await Promise.all(Object.entries(loginClients).map(start));
  });
  afterAll(async () => {
    for (const one of [...Object.values(running), cache, ahead, upstream, deadEnd]) await one?.close();
  });

  describe.each(Object.keys(loginClients))('%s', (name) => {
    const says = sayings[name]!;
    const client: Pick<LoginClient, 'pull'> = { pull: (...args) => running[name]!.pull(...args) };

    it('logs in and pulls with the right password', async () => {
      cache.takeAnswers();
      const pulled = await client.pull(cache.host, alice);
      expect(pulled).toMatchObject({ code: 0 });
      const answers = cache.takeAnswers();
      expect(answers.filter(({ request }) => request.includes('/blobs/')).length).toBeGreaterThanOrEqual(3);
      expect(
        answers.filter(({ status, authorization }) => status !== 200 && authorization?.startsWith('Bearer')),
      ).toEqual([]);
      const audits = cache.events.flatMap((event) => (event.type === 'pull' && event.kind === 'blob' ? [event] : []));
      expect(audits.length).toBeGreaterThanOrEqual(3);
      expect(audits.every(({ identity, decision }) => identity === 'alice' && decision === 'allow')).toBe(true);
    });

    it('is refused with a wrong password, in words that it shows', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, wrong);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.wrong);
      expect(refused.stdout).not.toContain(wrong.password);
      const tokens = cache.takeAnswers().filter(({ request }) => request.includes('/token'));
      expect(tokens.map(({ status }) => status).every((status) => status === 401)).toBe(true);
      expect(tokens.at(-1)?.challenge).toBe(`Basic realm="${cache.host}", charset="UTF-8"`);
    });

    it('is refused without a login, and told to log in', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, undefined);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.nobody);
      const scope = `scope="repository:${upstreamKey}/${privateImage.repository}:pull"`;
      expect(cache.takeAnswers().at(-1)).toMatchObject({
        status: 401,
        challenge: `Bearer realm="${cache.url}/token",service="${cache.host}",${scope},error="insufficient_scope"`,
      });
    });

    it('is refused with a token that is good for another repository', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, narrow);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.narrow);
      expect(cache.takeAnswers().at(-1)).toMatchObject({
        status: 401,
        authorization: expect.stringMatching(/^Bearer /),
        challenge: expect.stringMatching(/,error="insufficient_scope"$/),
      });
    });

    it('is refused what its user may not pull, whatever the token is for', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, eve);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.denied);
      expect(cache.takeAnswers().at(-1)).toMatchObject({ status: 403, challenge: undefined });
    });

    it('is refused with a token that has expired', async () => {
      ahead.takeAnswers();
      const refused = await client.pull(ahead.host, alice);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.expired);
      expect(ahead.takeAnswers().at(-1)).toMatchObject({
        status: 401,
        authorization: expect.stringMatching(/^Bearer /),
        challenge: expect.stringMatching(/,error="invalid_token"$/),
      });
    });
  });

  it('docker pulls what is for all through its mirror without a login, with a token of nobody', async () => {
    cache.takeAnswers();
    expect(await running['docker']?.pullMirrored?.('open:1.0')).toMatchObject({ code: 0 });
    const answers = cache.takeAnswers();
    expect(answers[0]).toMatchObject({ request: 'GET /v2/', status: 401 });
    const [token] = answers.filter(({ request }) => request.startsWith('GET /token?'));
    expect(token).toMatchObject({ status: 200, authorization: undefined });
    expect(token?.request).toContain(encodeURIComponent('repository:library/open:pull'));
    expect(answers.filter(({ request, status }) => request.includes('/blobs/') && status === 200)).toHaveLength(3);
    expect(deadEnd.takeAttempts()).toEqual([]);
  });

  it.each(['skopeo', 'docker'])('%s renews a token that expires in the middle of a pull', async (name) => {
    const short = await startGuardedCache(upstream, (url) => ({ ...access(url, { lifetime: '2s' }), authorize }));
    try {
      // The manifest comes when the token is over that it was asked for with.
      short.hold('/manifests/', async (authorization) => {
        const { exp } = JSON.parse(Buffer.from(authorization?.split('.')[1] ?? 'e30', 'base64url').toString());
        await new Promise((resolve) => setTimeout(resolve, Math.max(exp * 1000 - Date.now(), 0)));
      });
      expect(await running[name]!.pull(short.host, alice)).toMatchObject({ code: 0 });
      const asked = short.takeAnswers().filter(({ status }) => status === 200);
      const tokensFor = (part: string) =>
        new Set(asked.flatMap(({ request, authorization }) => (request.includes(part) ? [authorization] : [])));
      const [first] = tokensFor('/manifests/');
      const later = [...tokensFor('/blobs/')];
      expect(later).not.toEqual([]);
      expect(later).not.toContain(first);
    } finally {
      await short.close();
    }
  });
});
