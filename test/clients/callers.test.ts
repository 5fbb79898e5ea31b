import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import { htpasswdUser } from '../peers/registry-peer.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { requireRoot } from '../system.ts';
import { type LoginClient, loginClients, loginPrograms, privateImage } from './login-clients.ts';
import { startSkopeo } from './skopeo.ts';
import { hasPrograms, startUpstream, upstreamKey } from './world.ts';

const { repository, tag } = privateImage;
const { username: user, password } = htpasswdUser;
const wrong = 'not-the-password';

/** What each of them says to a wrong password, and without a login. */
const sayings: Readonly<Record<string, { wrong: string; nobody: string }>> = {
  skopeo: {
    wrong: 'invalid username/password',
    nobody: `unauthorized: ${upstreamKey} wants a name and password of your own there; log in`,
  },
  podman: {
    wrong: 'invalid username/password',
    nobody: `unauthorized: ${upstreamKey} wants a name and password of your own there; log in`,
  },
  docker: { wrong: 'failed with status: 401 Unauthorized', nobody: 'no basic auth credentials' },
  ctr: {
    wrong: 'failed with status code [manifests 1.0]: 401 Unauthorized',
    nobody: 'failed with status code [manifests 1.0]: 401 Unauthorized',
  },
};

describe.skipIf(!hasPrograms(loginPrograms) || !requireRoot())(
  'a registry with htpasswd that is asked with the credentials of those who pull',
  () => {
    let image: Image;
    let upstream: UpstreamPeer;
    let cache: CacheProcess;

    beforeAll(async () => {
      image = buildImage({ name: 'private', message: 'private', program: await compileHello() });
      upstream = await startUpstream({ kind: 'htpasswd' });
      await upstream.push(repository, tag, image);
      cache = await startCacheProcess({
        upstreams: [{ key: upstreamKey, url: upstream.url, credentials: 'caller' }],
        callerKey: 'tells those apart who pull in these tests',
      });
    });
    afterAll(async () => {
      await cache.close();
      await upstream.close();
    });

    describe.each(Object.keys(loginClients))('by %s', (name) => {
      let client: LoginClient;
      beforeAll(async () => {
        client = await loginClients[name]!(cache.url);
      });
      afterAll(() => client.close());

      it('gives its image to the right name and password, and to nobody else', async () => {
        const pulled = await client.pull(cache.host, { user, password });
        expect(pulled).toMatchObject({ code: 0 });
        const mistaken = await client.pull(cache.host, { user, password: wrong });
        expect(mistaken.code).not.toBe(0);
        expect(mistaken.stdout).toContain(sayings[name]?.wrong);
        const nobody = await client.pull(cache.host, undefined);
        expect(nobody.code).not.toBe(0);
        expect(nobody.stdout).toContain(sayings[name]?.nobody);
      });
    });

    it('is copied from what is stored while the registry is away, by nobody else', async () => {
      const { shell, close } = await startSkopeo({ cacheUrl: cache.url, upstreamKey, environment: {} });
      let copies = 0;
      const copy = (secret: string) =>
        shell(
          `skopeo copy --src-tls-verify=false --src-creds ${user}:${secret} ` +
            `docker://${cache.host}/${upstreamKey}/${repository}:${tag} dir:copy-${++copies}`,
        );
      try {
        await copy(password);
        upstream.takeRequests();
        await copy(password);
        expect(upstream.takeRequests()).toEqual([`HEAD /v2/${repository}/manifests/${tag}`]);
        await upstream.stop();
        await copy(password);
        await expect(copy(wrong)).rejects.toThrow(/unauthorized|unavailable|status code/i);
        await expect(copy('another-one')).rejects.toThrow(/unauthorized|unavailable|status code/i);
      } finally {
        await upstream.start();
        await close();
      }
    });

    it('has written no password', () => {
      const output = cache.output();
      for (const secret of [password, wrong]) {
        expect(output).not.toContain(secret);
        expect(output).not.toContain(Buffer.from(`${user}:${secret}`).toString('base64'));
      }
      expect(output).not.toContain('callerKey is not set');
    });
  },
);
