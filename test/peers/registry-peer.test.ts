import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireProgram } from '../system.ts';
import { compileHello } from './hello-program.ts';
import { buildImage, type Image } from './image-builder.ts';
import { htpasswdUser } from './registry-peer.ts';
import { startTokenServer, type TokenServer } from './token-server.ts';
import { startUpstreamPeer, type UpstreamPeer } from './upstream-peer.ts';

const registry = requireProgram('docker-registry');
const tools = [requireProgram('gcc', 'gcc libc6-dev'), requireProgram('openssl')];

describe.skipIf(registry === undefined || tools.includes(undefined))(
  'the registry that tests have for an upstream',
  () => {
    let program: Uint8Array;
    let image: Image;
    beforeAll(async () => {
      program = await compileHello();
      image = buildImage({ name: 'hello', message: 'one', program });
    });

    describe('open to anyone', () => {
      let upstream: UpstreamPeer;
      beforeAll(async () => {
        upstream = await startUpstreamPeer(registry!);
      });
      afterAll(() => upstream.close());

      it('gives what was pushed and counts who asked', async () => {
        await upstream.push('library/hello', '1.0', image);
        const response = await fetch(`${upstream.url}/v2/library/hello/manifests/1.0`, {
          headers: { accept: image.manifest.mediaType },
        });
        expect(response.headers.get('docker-content-digest')).toBe(image.manifest.digest);
        expect(Buffer.from(await response.arrayBuffer())).toEqual(Buffer.from(image.manifest.bytes));
        expect(upstream.takeRequests()).toEqual(['GET /v2/library/hello/manifests/1.0']);
        expect(upstream.takeRequests()).toEqual([]);
      });

      it('refuses connections while it is stopped and comes back with what it had', async () => {
        await upstream.push('library/back', '1.0', image);
        const url = `${upstream.url}/v2/library/back/manifests/1.0`;
        await upstream.stop();
        await expect(fetch(url)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
        await upstream.start();
        expect((await fetch(url, { headers: { accept: image.manifest.mediaType } })).status).toBe(200);
      });

      it('answers 404 for a tag whose image was removed', async () => {
        await upstream.push('library/gone', '1.0', image);
        await upstream.remove('library/gone', image);
        const response = await fetch(`${upstream.url}/v2/library/gone/manifests/1.0`);
        expect(response.status).toBe(404);
      });
    });

    it('takes the one user of its htpasswd file and nobody else', async () => {
      const upstream = await startUpstreamPeer(registry!, { kind: 'htpasswd' });
      try {
        await upstream.push('team/private', '1.0', image);
        const get = (password: string) =>
          fetch(`${upstream.url}/v2/team/private/tags/list`, {
            headers: { authorization: `Basic ${btoa(`${htpasswdUser.username}:${password}`)}` },
          });
        expect((await get(htpasswdUser.password)).status).toBe(200);
        expect((await get('wrong')).status).toBe(401);
      } finally {
        await upstream.close();
      }
    });

    describe('with token authentication', () => {
      let tokens: TokenServer;
      let upstream: UpstreamPeer;
      beforeAll(async () => {
        tokens = await startTokenServer({
          users: { cache: 'secret' },
          repositories: { 'team/private': 'private', 'team/public': 'public' },
        });
        upstream = await startUpstreamPeer(registry!, { kind: 'token', server: tokens });
        await upstream.push('team/private', '1.0', image);
        await upstream.push('team/public', '1.0', image);
      });
      afterAll(async () => {
        await upstream.close();
        await tokens.stop();
      });

      const tokenFor = async (repository: string, basic?: string): Promise<string> => {
        const query = `service=${tokens.service}&scope=repository:${repository}:pull`;
        const headers: Record<string, string> = basic === undefined ? {} : { authorization: `Basic ${btoa(basic)}` };
        const response = await fetch(`${tokens.realm}?${query}`, { headers });
        return ((await response.json()) as { token: string }).token;
      };
      const list = (repository: string, token: string) =>
        fetch(`${upstream.url}/v2/${repository}/tags/list`, { headers: { authorization: `Bearer ${token}` } });

      it('challenges whoever comes without a token', async () => {
        const response = await fetch(`${upstream.url}/v2/team/public/tags/list`);
        expect(response.status).toBe(401);
        expect(response.headers.get('www-authenticate')).toContain(
          `realm="${tokens.realm}",service="${tokens.service}"`,
        );
      });

      it('gives a public repository to anyone and a private one to its user', async () => {
        expect((await list('team/public', await tokenFor('team/public'))).status).toBe(200);
        expect((await list('team/private', await tokenFor('team/private'))).status).toBe(401);
        expect((await list('team/private', await tokenFor('team/private', 'cache:secret'))).status).toBe(200);
      });

      it('answers 401 for a repository that does not exist, as Docker Hub does', async () => {
        expect((await list('team/missing', await tokenFor('team/missing', 'cache:secret'))).status).toBe(401);
      });

      it('refuses a token that has expired', async () => {
        tokens.setLifetime(0);
        expect((await list('team/public', await tokenFor('team/public'))).status).toBe(401);
      });
    });
  },
);
