import type { UpstreamAuth, UpstreamOptions } from '@proxycache/core';
import {
  type AddedImage,
  type FakeHost,
  type FakeHostOptions,
  type FakeUpstream,
  ociError,
  startFakeCdn,
  startFakeHost,
} from '@proxycache/test-kit';
import { expect, onTestFinished } from 'vitest';
import { type CacheUnderTest, startCache, startUpstream } from './cache-under-test.ts';
import { type SecretWatch, secretWatch } from './secret-watch.ts';

export const repository = 'team/app';
const base = `/v2/up/${repository}`;
export const username = 'ann';
export const password = 'pa55-Wort/with+signs=&';
export const bearer = 'bea8er.t0ken-of-the-host_itself';
export const provided = 'pr0vided-passw0rd';
export const signature = 's1gned-query-of-a-url';

/** What may be known by nobody but the upstream and its token hosts. */
export const credentials = [password, `${username}:${password}`, bearer, provided, `${username}:${provided}`];

export async function startHost(
  options: FakeHostOptions = {},
  answer = () => ociError(404, 'UNSUPPORTED', 'nothing here'),
) {
  const host = await startFakeHost(options, answer);
  onTestFinished(() => host.stop());
  return host;
}

export async function startCdn(address = '127.0.0.3') {
  const cdn = await startFakeCdn({ address });
  onTestFinished(() => cdn.stop());
  return cdn;
}

/** Everything a client, a library's user and an operator can ask a cache, twice, and what came of it. */
async function askEverything(cache: CacheUnderTest, image: AddedImage, watch: SecretWatch): Promise<void> {
  const layer = image.layers[0]!.digest;
  const secretsOfClient = { authorization: 'Basic Y2xpZW50OmNsaWVudC1wYXNzd29yZA==', cookie: 'session=client-cookie' };
  const requests: [method: string, path: string, headers?: Record<string, string>][] = [
    ['GET', `${base}/manifests/1`],
    ['HEAD', `${base}/manifests/1`, secretsOfClient],
    ['GET', `${base}/manifests/${image.root.digest}`],
    ['HEAD', `${base}/manifests/${image.config.digest}`],
    ['GET', `${base}/blobs/${layer}`, secretsOfClient],
    ['GET', `${base}/blobs/${image.config.digest}`, { range: 'bytes=1-5' }],
    ['HEAD', `${base}/blobs/${image.layers[1]!.digest}`],
    ['GET', `${base}/tags/list`],
    ['GET', `${base}/referrers/${image.root.digest}`],
    ['GET', '/v2/up/private/other/manifests/1'],
    ['GET', '/v2/'],
  ];
  for (const round of ['first', 'second']) {
    for (const [method, path, headers = {}] of requests) {
      const got = await cache.get(path, { method, headers }).catch((error: unknown) => error);
      watch.saw(`the ${round} answer to ${method} ${path}`, got);
    }
    for (const reference of [`up/${repository}:1`, `up/${repository}@${image.root.digest}`, 'up/private/other:1']) {
      for (const ask of ['resolve', 'has'] as const) {
        const came = await cache.cache[ask](reference).catch((error: unknown) => error);
        watch.saw(`${ask}(${reference})`, came);
      }
    }
    await cache.clock.advance(6_000);
  }
}

export interface Situation {
  upstream: FakeUpstream;
  image: AddedImage;
  options?: Partial<UpstreamOptions>;
  auth?: UpstreamAuth;
  /** Hosts that must not see a credential. */
  foreign?: readonly FakeHost[];
  /** Secrets that came into being on the way. */
  more?: () => readonly string[];
}

export async function expectNoLeak(situation: Situation): Promise<{ cache: CacheUnderTest; watch: SecretWatch }> {
  const { upstream, image, options = {}, foreign = [], more = () => [] } = situation;
  const watch = secretWatch();
  const auth = situation.auth ?? { username, password };
  const cache = await startCache(
    // Each request is to reach the host, also one that failed again and again.
    { upstreams: [{ key: 'up', url: upstream.url, auth, breaker: { failures: 1_000 }, ...options }] },
    { onError: (error) => watch.saw('what the adapter was told', error) },
  );
  await askEverything(cache, image, watch);
  await cache.cache.close({ graceMs: 0 });
  watch.sawFiles(cache.directory);
  for (const event of cache.events) watch.saw(`the event ${event.type}`, event);
  const tokens = [...upstream.requests, ...foreign.flatMap(({ requests }) => requests)]
    .flatMap(({ headers }) => /^bearer +(.+)$/i.exec(headers.authorization ?? '')?.[1] ?? [])
    .filter((token) => token !== bearer);
  expect(watch.leaks([...credentials, ...tokens, ...more(), signature])).toEqual([]);
  expect(watch.count()).toBeGreaterThan(50);

  const abroad = secretWatch();
  for (const host of foreign) abroad.sawRequests(host.host, host);
  expect(abroad.leaks([...credentials, ...tokens])).toEqual([]);
  expect(foreign.flatMap(({ requests }) => requests).filter(({ headers }) => headers.authorization)).toEqual([]);
  for (const host of [upstream, ...foreign]) abroad.sawRequests(host.host, host);
  // SEMANTICS 27: nothing of the client's own goes anywhere.
  expect(abroad.leaks(['client-password', 'client-cookie', 'client:client-password'])).toEqual([]);
  return { cache, watch };
}

export async function startRegistry(options: Parameters<typeof startUpstream>[0] = {}) {
  const upstream = await startUpstream({ auth: { basic: { username, password } }, ...options });
  const image = upstream.addImage(repository, { tag: '1' });
  upstream.addReferrer(repository, { subject: image.root, artifactType: 'application/signature' });
  return { upstream, image };
}

export const withTokens = (extra: object = {}) => ({
  bearer: { users: { [username]: { password } }, public: [], ...extra },
});
