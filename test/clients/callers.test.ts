import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CacheProcess, startCacheProcess } from '../peers/cache-process.ts';
import { compileHello } from '../peers/hello-program.ts';
import { buildImage, type Image } from '../peers/image-builder.ts';
import { htpasswdUser } from '../peers/registry-peer.ts';
import type { UpstreamPeer } from '../peers/upstream-peer.ts';
import { startPodman } from './podman.ts';
import type { PullClient } from './pull-client.ts';
import { startSkopeo } from './skopeo.ts';
import { hasPrograms, startUpstream, upstreamKey } from './world.ts';

const repository = 'team/private';
const { username, password } = htpasswdUser;
const right = `${username}:${password}`;
const wrong = `${username}:not-the-password`;

describe.skipIf(!hasPrograms({ skopeo: 'skopeo', podman: 'podman', runc: 'runc' }))(
  'a registry with htpasswd that is asked with the credentials of those who pull',
  () => {
    let image: Image;
    let upstream: UpstreamPeer;
    let cache: CacheProcess;
    const clients: PullClient[] = [];

    beforeAll(async () => {
      image = buildImage({ name: 'private', message: 'private', program: await compileHello() });
      upstream = await startUpstream({ kind: 'htpasswd' });
      await upstream.push(repository, '1.0', image);
      cache = await startCacheProcess({
        upstreams: [{ key: upstreamKey, url: upstream.url, credentials: 'caller' }],
        callerKey: 'tells those apart who pull in these tests',
      });
    });
    afterAll(async () => {
      for (const client of clients) await client.close();
      await cache.close();
      await upstream.close();
    });

    const setting = () => ({ cacheUrl: cache.url, upstreamKey, environment: {} });
    async function skopeo(): Promise<(how: string) => Promise<string>> {
      const client = await startSkopeo(setting());
      clients.push(client);
      const source = `--tls-verify=false docker://${cache.host}/${upstreamKey}/${repository}:1.0`;
      return (how) => client.shell(`skopeo inspect --format '{{.Digest}}' ${how} ${source}`);
    }

    it('gives an image to skopeo with the right name and password, and asks all others to log in', async () => {
      const inspect = await skopeo();
      await expect(inspect('--no-creds')).rejects.toThrow(/unauthorized|authentication required|invalid username/i);
      expect((await inspect(`--creds ${right}`)).trim()).toBe(image.manifest.digest);
      await expect(inspect(`--creds ${wrong}`)).rejects.toThrow(
        /unauthorized|authentication required|invalid username/i,
      );
      await expect(inspect(`--creds somebody:${password}`)).rejects.toThrow(
        /unauthorized|authentication required|invalid username/i,
      );
    });

    it('lets podman log in with the right password alone, and pull then', async () => {
      const podman = await startPodman(setting());
      clients.push(podman);
      const login = (secret: string) =>
        podman.shell(`podman login --tls-verify=false --username ${username} --password ${secret} ${cache.host}`);
      await expect(login('not-the-password')).rejects.toThrow(/invalid username\/password|unauthorized/);
      expect(await login(password)).toMatch(/Login Succeeded/);
      const name = `${cache.host}/${upstreamKey}/${repository}:1.0`;
      await podman.shell(`podman pull --quiet --tls-verify=false ${name}`);
      expect((await podman.shell(`podman image inspect --format '{{.Digest}}' ${name}`)).trim()).toBe(
        image.manifest.digest,
      );
      await podman.shell(`podman rmi --all --force; podman logout ${cache.host}`);
      await expect(podman.shell(`podman pull --quiet --tls-verify=false ${name}`)).rejects.toThrow(
        /unauthorized|authentication required/,
      );
    });

    it('is copied whole by skopeo, and from what is stored while the registry is away, by nobody else', async () => {
      const client = await startSkopeo(setting());
      clients.push(client);
      let copies = 0;
      const copy = (creds: string) =>
        client.shell(
          `skopeo copy --src-tls-verify=false --src-creds ${creds} ` +
            `docker://${cache.host}/${upstreamKey}/${repository}:1.0 dir:copy-${++copies}`,
        );
      await copy(right);
      upstream.takeRequests();
      await copy(right);
      expect(upstream.takeRequests()).toEqual([`HEAD /v2/${repository}/manifests/1.0`]);
      await upstream.stop();
      try {
        await copy(right);
        await expect(copy(wrong)).rejects.toThrow(/unauthorized|authentication required|502|503|Bad Gateway|UNAVAIL/i);
      } finally {
        await upstream.start();
      }
    });

    it('has written no password', () => {
      const output = cache.output();
      expect(output).not.toContain(password);
      expect(output).not.toContain('not-the-password');
      expect(output).not.toContain(Buffer.from(right).toString('base64'));
      expect(output).not.toContain('callerKey is not set');
    });
  },
);
