import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { anyOf, basic, passwordVerifier, tokenService } from '@proxycache/access';
import type { Authorize } from '@proxycache/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import { runCommand, runShell } from '../peers/run-command.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { requireRoot } from '../system.ts';
import { startContainerd } from './containerd.ts';
import { type GuardedCache, startGuardedCache } from './guarded-cache.ts';
import { type LoginClient, loginClients, loginPrograms, privateImage } from './login-clients.ts';
import { snippetOf } from './snippet.ts';
import { configFor, hasPrograms, startUpstream, upstreamKey } from './world.ts';

const ready = hasPrograms({ ...loginPrograms, htpasswd: 'apache2-utils', curl: 'curl' }) && requireRoot();

const alice = { user: 'alice', password: 'wönderland' };
const wrong = { user: 'alice', password: 'looking-glass' };
const unknown = { user: 'mallory', password: 'wönderland' };
/** Who may not pull it. */
const eve = { user: 'eve', password: 'apple-tree' };

const challenge = 'Basic realm="proxycache", charset="UTF-8"';
const authorize: Authorize = ({ identity }) =>
  identity?.name === eve.user ? { allow: false, reason: 'it is for alice' } : true;
const path = `/v2/${upstreamKey}/${privateImage.repository}/manifests/${privateImage.tag}`;

/** What each of them says. */
const sayings: Readonly<Record<string, { wrong: string; nobody: string; denied: string; prefers: string }>> = {
  skopeo: {
    wrong: 'invalid username/password',
    nobody: 'unauthorized: no credentials came with the request; log in first',
    denied: 'denied: it is for alice',
    prefers: 'Bearer',
  },
  podman: {
    wrong: 'invalid username/password',
    nobody: 'unauthorized: no credentials came with the request; log in first',
    denied: 'denied: it is for alice',
    prefers: 'Bearer',
  },
  docker: {
    wrong: 'failed with status: 401 Unauthorized',
    nobody: 'no basic auth credentials',
    denied: 'denied: it is for alice',
    // Of several it takes the last.
    prefers: 'Basic',
  },
  ctr: {
    wrong: 'failed with status code [manifests 1.0]: 401 Unauthorized',
    nobody: 'failed with status code [manifests 1.0]: 401 Unauthorized',
    denied: 'failed with status code [manifests 1.0]: 403 Forbidden',
    prefers: 'Bearer',
  },
};

describe.skipIf(!ready)('a cache that asks for names and passwords', () => {
  const folder = makeTemporaryFolder('basic');
  const htpasswd = join(folder, 'users');
  let built: Image;
  let upstream: UpstreamPeer;
  let cache: GuardedCache;
  /** One that gives tokens, too. */
  let both: GuardedCache;

  /** Sets a password with Apache's own program, as operators do. */
  const enter = async ({ user, password }: typeof alice, flags = '-bB') =>
    runShell(`htpasswd ${flags} ${htpasswd} ${user} ${password}`, { env: {}, folder });

  beforeAll(async () => {
    upstream = await startUpstream();
    built = buildImage({ name: 'private', message: 'private', program: await compileHello() });
    await upstream.push(privateImage.repository, privateImage.tag, built);
    await enter(alice, '-cbB');
    await enter(eve);
    cache = await startGuardedCache(upstream, () => ({ anonymous: false, authorize, ...basic({ htpasswd }) }));
    both = await startGuardedCache(upstream, (url) => {
      const keys = { secret: 'a secret that replicas share, 32 bytes or more' };
      const tokens = tokenService({ publicUrl: url, verify: passwordVerifier({ htpasswd }), keys });
      return { anonymous: false, ...anyOf(tokens, basic({ htpasswd })) };
    });
  });
  afterAll(async () => {
    for (const one of [cache, both]) await one?.close();
    await upstream?.close();
    removeFolder(folder);
  });

  describe.each(Object.keys(loginClients))('%s', (name) => {
    let client: LoginClient;
    const says = sayings[name]!;
    beforeAll(async () => {
      client = await loginClients[name]!(cache.url);
    });
    afterAll(() => client?.close());

    it('logs in and pulls with the right password', async () => {
      const before = cache.events.length;
      cache.takeAnswers();
      expect(await client.pull(cache.host, alice)).toMatchObject({ code: 0 });
      const answers = cache.takeAnswers();
      expect(answers.filter(({ request }) => request.includes('/blobs/')).length).toBeGreaterThanOrEqual(3);
      expect(answers.filter(({ status, authorization }) => status !== 200 && authorization)).toEqual([]);
      const audits = cache.events.slice(before).flatMap((event) => (event.type === 'pull' ? [event] : []));
      const blobs = audits.filter(({ kind, decision }) => kind === 'blob' && decision === 'allow');
      expect(blobs.length).toBeGreaterThanOrEqual(3);
      expect(blobs.every(({ identity }) => identity === 'alice')).toBe(true);
    });

    it.each([
      ['a wrong password', wrong],
      ['the name of nobody', unknown],
    ])('is refused with %s, and shows it', async (_, login) => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, login);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.wrong);
      expect(refused.stdout).not.toContain(login.password);
      expect(cache.takeAnswers().at(-1)).toMatchObject({ status: 401, challenge, authorization: expect.any(String) });
    });

    it('is refused without a login, and shows it', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, undefined);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.nobody);
      expect(cache.takeAnswers().at(-1)).toMatchObject({ status: 401, challenge });
    });

    it('is refused what its user may not pull, and shows it', async () => {
      cache.takeAnswers();
      const refused = await client.pull(cache.host, eve);
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toContain(says.denied);
      expect(cache.takeAnswers().at(-1)).toMatchObject({ status: 403, challenge: undefined });
    });

    it('logs in and pulls where tokens are given as well', async () => {
      both.takeAnswers();
      expect(await client.pull(both.host, alice)).toMatchObject({ code: 0 });
      const schemes = both.takeAnswers().flatMap(({ request, authorization }) => {
        return request.includes('/blobs/') ? [authorization?.split(' ')[0]] : [];
      });
      expect(new Set(schemes)).toEqual(new Set([says.prefers]));
    });
  });

  it('containerd brings what its hosts.toml says', async () => {
    const containerd = await startContainerd({ cacheUrl: cache.url, upstreamKey, environment: {} });
    const hosts = join(folder, 'certs.d');
    const write = (password: string) => {
      mkdirSync(join(hosts, 'docker.io'), { recursive: true });
      const encoded = Buffer.from(`${alice.user}:${password}`).toString('base64');
      const snippet = snippetOf('file=login/hosts.toml', { cacheUrl: cache.url, upstreamKey });
      writeFileSync(join(hosts, 'docker.io/hosts.toml'), snippet.replace('TkFNRTpQQVNTV09SRA==', encoded));
    };
    const pull = (more = '') =>
      containerd.shell(`ctr images pull --hosts-dir ${hosts} ${more} docker.io/${privateImage.repository}:1.0 2>&1`);
    try {
      write(alice.password);
      cache.takeAnswers();
      await pull();
      expect(cache.takeAnswers().filter(({ status }) => status !== 200)).toEqual([]);
      write(wrong.password);
      await expect(pull()).rejects.toThrow('401 Unauthorized');
      expect(cache.takeAnswers().at(-1)).toMatchObject({ status: 401, challenge });
    } finally {
      await containerd.close();
    }
  });

  it('curl is told what is wrong with what it brings', async () => {
    const curl = (...args: readonly string[]) =>
      runCommand({
        program: 'curl',
        args: ['--silent', '--noproxy', '*', '--write-out', '\n%{http_code}', ...args, `${cache.url}${path}`],
      });
    expect((await curl('--user', `${alice.user}:${alice.password}`)).stdout).toMatch(/\n200$/);
    for (const [args, message] of [
      [[], 'no credentials came with the request; log in first'],
      [['--user', `${alice.user}:guess`], 'wrong user name or password'],
      [['--user', `${alice.user}:${'x'.repeat(73)}`], 'the password has more than the 72 bytes that bcrypt compares'],
      [['--header', 'Authorization: Basic ???'], 'the credentials are not in base64'],
      [['--oauth2-bearer', 'abc'], 'expected a user name and password (Basic)'],
    ] as const) {
      const { stdout } = await curl(...args);
      expect(stdout).toMatch(/\n401$/);
      expect(JSON.parse(stdout.slice(0, -4)).errors).toEqual([{ code: 'UNAUTHORIZED', message }]);
    }
    expect((await curl('--head')).stdout.toLowerCase()).toContain(`www-authenticate: ${challenge.toLowerCase()}`);
  });

  it("the standalone server asks for what its configuration's file has", async () => {
    const standalone = await startCacheProcess({ ...configFor(upstream), access: { basic: { htpasswd } } });
    const skopeo = await loginClients['skopeo']!(standalone.url);
    try {
      expect(await skopeo.pull(standalone.host, wrong)).toMatchObject({ code: 1 });
      expect(await skopeo.pull(standalone.host, alice)).toMatchObject({ code: 0 });
      expect(standalone.output()).not.toContain(alice.password);
      await expect
        .poll(() => standalone.output())
        .toMatch(/"identity":"alice".*"kind":"blob"|"kind":"blob".*"identity":"alice"/);
    } finally {
      await skopeo.close();
      await standalone.close();
    }
  });
});
