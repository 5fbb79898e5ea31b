import type { AccessOptions } from '@proxycache/core';
import { type FlakyStorage, flakyStore } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';
import { as, authenticate } from './callers.ts';

const basic = 'Basic realm="proxycache"';
const messageOf = (body: Buffer) => JSON.parse(body.toString()).errors[0].message;

/** A cache with one image, whose store counts its calls. */
async function startGuarded(access: AccessOptions, options: Parameters<typeof startPair>[0] = {}) {
  let storage: FlakyStorage | undefined;
  const { upstream, cache } = await startPair({
    ...options,
    cache: { catalog: true, ...options.cache, access },
    mount: {
      ...options.mount,
      wrapStorage(inner) {
        storage = flakyStore(inner);
        return storage;
      },
    },
  });
  const image = upstream.addImage('team/app', { tag: '1' });
  const store = storage!;
  const calls = () =>
    (['open', 'put', 'adopt'] as const).reduce((sum, name) => sum + store.calls(`blobs.${name}`), 0) +
    (['get', 'getMany', 'set', 'list'] as const).reduce((sum, name) => sum + store.calls(`metadata.${name}`), 0);
  return { upstream, cache, image, store, touched: () => calls() + upstream.count({}) };
}

type Image = Awaited<ReturnType<typeof startGuarded>>['image'];

/** Every kind of question about the image, and the scope that its 401 asks for. */
function questions(image: Image): [method: string, path: string, scope: string | undefined, headers?: object][] {
  const scope = 'repository:up/team/app:pull';
  const base = '/v2/up/team/app';
  return [
    ['GET', '/v2/', undefined],
    ['HEAD', '/v2/', undefined],
    ['GET', `${base}/manifests/1`, scope],
    ['HEAD', `${base}/manifests/1`, scope],
    ['GET', `${base}/manifests/${image.root.digest}`, scope],
    ['GET', `${base}/blobs/${image.layers[0]!.digest}`, scope],
    ['HEAD', `${base}/blobs/${image.layers[0]!.digest}`, scope],
    ['GET', `${base}/blobs/${image.layers[0]!.digest}`, scope, { range: 'bytes=0-3' }],
    ['GET', `${base}/tags/list`, scope],
    ['GET', `${base}/referrers/${image.root.digest}`, scope],
    ['GET', '/v2/_catalog', 'registry:catalog:*'],
    ['PUT', `${base}/manifests/1`, scope],
    ['POST', `${base}/blobs/uploads/`, scope],
  ];
}

const challenge: AccessOptions['challenge'] = ({ scope, error }) =>
  ['Bearer realm="r"', ...(scope ? [`scope="${scope}"`] : []), ...(error ? [`error="${error}"`] : [])].join(',');

describe('who brings no credentials where they are needed', () => {
  test('gets 401 with a challenge for each kind of question, its scope but for /v2/, and nothing was read or fetched', async () => {
    const { cache, image, touched } = await startGuarded({ authenticate, anonymous: false, challenge });
    const before = touched();
    for (const [method, path, scope, headers = {}] of questions(image)) {
      const got = await cache.get(path, { method, headers: headers as Record<string, string> });
      expect([method, path, got.status]).toEqual([method, path, 401]);
      expect(got.headers['www-authenticate']).toBe(`Bearer realm="r"${scope ? `,scope="${scope}"` : ''}`);
      expect(got.headers['cache-control']).toBe('no-store, no-transform');
      if (method !== 'HEAD') expect(got.errorCode).toBe('UNAUTHORIZED');
    }
    expect(touched()).toBe(before);
  });

  test('is told of what is wrong with his credentials, and asked for others', async () => {
    const { cache, image, touched } = await startGuarded({ authenticate, challenge });
    const before = touched();
    for (const [method, path] of questions(image)) {
      const got = await cache.get(path, { method, ...as('ann', 'guessed') });
      expect([path, got.status]).toEqual([path, 401]);
      expect(got.headers['www-authenticate']).toContain('error="invalid_token"');
      if (method !== 'HEAD') expect(messageOf(got.body)).toBe('wrong user or password');
    }
    expect(touched()).toBe(before);
  });

  test('is asked for Basic where nothing else is said, and gets 403 where nothing would help', async () => {
    const { cache } = await startGuarded({ authenticate, anonymous: false });
    expect((await cache.get('/v2/')).headers['www-authenticate']).toBe(basic);
    const { cache: other } = await startGuarded({ authenticate, anonymous: false, challenge: () => [] });
    const got = await other.get('/v2/');
    expect([got.status, got.errorCode, got.headers['www-authenticate']]).toEqual([403, 'UNAUTHORIZED', undefined]);
  });

  test('is let on to authorize by default, and asked for credentials if that says no', async () => {
    const { cache, image } = await startGuarded({
      authenticate,
      authorize: ({ identity, action }) => identity !== undefined || action === 'list',
      challenge,
    });
    expect((await cache.get('/v2/')).status).toBe(200);
    expect((await cache.get('/v2/up/team/app/tags/list')).status).toBe(200);
    const got = await cache.get(`/v2/up/team/app/manifests/${image.root.digest}`);
    expect([got.status, got.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="r",scope="repository:up/team/app:pull"',
    ]);
    expect((await cache.get('/v2/up/team/app/manifests/1', as('ann'))).status).toBe(200);
  });
});
