import type { HttpRequest, HttpResponse, ProxyCacheEvent } from '@proxycache/core';
import { expect, test } from 'vitest';
import { type CacheUnderTest, startCache, startPair, startUpstream } from './cache-under-test.ts';

type Asked = { method?: string; headers?: Record<string, string> };

function requestOf(url: string, { method = 'GET', headers = {} }: Asked = {}): HttpRequest {
  return {
    method,
    url,
    basePath: '',
    headers: { get: (name) => headers[name] ?? null },
    signal: new AbortController().signal,
    body: async () => new Uint8Array(),
  };
}

const atOnce = ({ cache }: CacheUnderTest, url: string, asked?: Asked) =>
  cache.handle.fromMemory?.(requestOf(url, asked));
const handled = ({ cache }: CacheUnderTest, url: string, asked?: Asked) => cache.handle(requestOf(url, asked));

/** All that a client gets of an answer, byte for byte and in order. */
function told(response: HttpResponse) {
  const { status, headers, body } = response;
  return { status, headers: Object.entries(headers), body: body && Buffer.from(body as Uint8Array).toString('latin1') };
}

/** Asks both ways: they must agree wherever memory answers. */
async function agreed(cache: CacheUnderTest, url: string, asked?: Asked): Promise<boolean> {
  const eventsOf = (type: string) => cache.events.filter((event) => event.type === type);
  const before = eventsOf('request').length;
  const fast = atOnce(cache, url, asked);
  const middle = eventsOf('request').length;
  const slow = await handled(cache, url, asked);
  const events: ProxyCacheEvent[] = eventsOf('request').slice(before);
  const question = JSON.stringify({ url, ...asked });
  if (!fast) {
    expect(middle, question).toBe(before);
    return false;
  }
  expect(told(fast), question).toEqual(told(slow!));
  expect(events, question).toHaveLength(2);
  expect(events[0], question).toEqual(events[1]);
  return true;
}

async function startTwo() {
  const [hub, other] = [await startUpstream(), await startUpstream()];
  const image = hub.addImage('library/app', { tag: '1', platforms: ['linux/amd64', 'linux/arm64'] });
  hub.addImage('library/app', { tag: 'unseen' });
  other.addImage('library/app', { tag: '1' });
  const cache = await startCache({
    upstreams: [
      { key: 'hub', url: hub.url, hosts: ['docker.io'], library: true, freshFor: '1m' },
      { key: 'other', url: other.url, hosts: ['other.example'], freshFor: '1m' },
    ],
    defaultUpstream: 'hub',
  });
  return { hub, other, cache, image };
}

test('what is answered from memory is byte for byte what would be answered otherwise, and told the same', async () => {
  const { cache, image } = await startTwo();
  const { digest } = image.root;
  await cache.get('/v2/hub/app/manifests/1');
  const first = image.manifests[0]!.digest;
  await cache.get(`/v2/hub/app/manifests/${first}`);
  await cache.get('/v2/other/library/app/manifests/1');

  const references = ['1', digest, first, 'unseen', 'none', `sha256:${'0'.repeat(64)}`, 'sha256:1', '-bad', '%31'];
  const names = ['hub/app', 'hub/library/app', 'app', 'library/app', 'other/library/app', 'other/app', 'a%70p', 'App'];
  const queries = ['', '?ns=docker.io', '?ns=DOCKER.io:443', '?ns=other.example', '?ns=unknown', '?ns=', '?x=1'];
  const hosts = [undefined, 'docker.io', 'other.example', 'cache.local:5000'];
  const conditions = [undefined, `"${digest}"`, `W/"${digest}"`, '*', '"else"', `"else", "${first}"`, 'broken'];
  const counts = { fast: 0, slow: 0 };
  const ask = async (url: string, asked: Asked) => {
    counts[(await agreed(cache, url, asked)) ? 'fast' : 'slow']++;
  };
  for (const name of names) {
    for (const query of queries) {
      for (const host of hosts) {
        await ask(`/v2/${name}/manifests/${references[0]}${query}`, { headers: host === undefined ? {} : { host } });
      }
    }
    for (const reference of references) {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
        await ask(`/v2/${name}/manifests/${reference}`, { method });
      }
    }
  }
  for (const reference of ['1', digest]) {
    for (const condition of conditions) {
      for (const method of ['GET', 'HEAD']) {
        const headers = { accept: 'text/plain', ...(condition !== undefined && { 'if-none-match': condition }) };
        await ask(`/v2/hub/app/manifests/${reference}`, { method, headers });
      }
    }
  }
  for (const path of ['/', '/v2', '/v2/', '/v2/_catalog', '/v2/hub/app/tags/list', `/v2/hub/app/blobs/${digest}`]) {
    await ask(path, {});
  }
  expect(counts.fast).toBeGreaterThan(100);
  expect(counts.slow).toBeGreaterThan(100);
});

test('what is warm is answered from memory, also to a condition, to HEAD, and by source host', async () => {
  const { cache, image } = await startTwo();
  await cache.get('/v2/hub/app/manifests/1');
  for (const reference of ['1', image.root.digest]) {
    for (const name of ['hub/app', 'hub/library/app', 'library/app', 'app']) {
      const url = `/v2/${name}/manifests/${reference}`;
      expect(atOnce(cache, url)?.status).toBe(200);
      expect(atOnce(cache, url, { method: 'HEAD' })?.body).toBeNull();
      expect(atOnce(cache, url, { headers: { 'if-none-match': '*' } })?.status).toBe(304);
    }
    const named = atOnce(cache, `/v2/library/app/manifests/${reference}?ns=docker.io`);
    expect(named?.headers['oci-namespace']).toBe('docker.io');
  }
});

test('what a URL means is not remembered for another Host', async () => {
  const { cache } = await startTwo();
  const url = '/v2/library/app/manifests/1';
  await cache.get(url);
  await cache.get('/v2/other/library/app/manifests/1');
  const digestAt = (host: string) => atOnce(cache, url, { headers: { host } })?.headers['docker-content-digest'];
  const atHub = digestAt('docker.io');
  expect(atHub).toBeDefined();
  expect(digestAt('other.example')).not.toBe(atHub);
  expect(digestAt('docker.io')).toBe(atHub);
});

test('an answer from memory is no older than it says, and none is given once the tag is not fresh', async () => {
  const { upstream, cache } = await startPair({ freshFor: '10s' });
  upstream.addImage('team/app', { tag: '1' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  for (const age of ['0', '1', '2']) {
    expect(atOnce(cache, url)?.headers['age']).toBe(age);
    expect(atOnce(cache, url, { method: 'HEAD' })?.headers['age']).toBe(age);
    await cache.clock.advance(1_000);
  }
  await cache.clock.advance(7_000);
  expect(atOnce(cache, url)).toBeUndefined();
  expect(await agreed(cache, url)).toBe(false);
  expect(atOnce(cache, url)?.headers['age']).toBe('0');
});

test('a clock that stepped back makes no answer from memory fresh', async () => {
  const { upstream, cache } = await startPair({ freshFor: '10s' });
  upstream.addImage('team/app', { tag: '1' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  expect(atOnce(cache, url)).toBeDefined();
  cache.clock.set(cache.clock.now() - 1);
  expect(atOnce(cache, url)).toBeUndefined();
});

test('a tag that has moved, or is gone, is seen by the next answer from memory', async () => {
  const { upstream, cache } = await startPair({ freshFor: '10s', absentFor: '1m' });
  const one = upstream.addImage('team/app', { tag: '1', seed: 'one' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  expect(atOnce(cache, url)?.headers['docker-content-digest']).toBe(one.root.digest);

  const two = upstream.addImage('team/app', { tag: '1', seed: 'two' });
  await cache.clock.advance(10_000);
  await cache.get(url);
  expect(atOnce(cache, url)?.headers['docker-content-digest']).toBe(two.root.digest);
  expect(await agreed(cache, url)).toBe(true);

  upstream.removeTag('team/app', '1');
  await cache.clock.advance(10_000);
  expect((await cache.get(url)).status).toBe(404);
  expect(atOnce(cache, url)).toBeUndefined();
});

test('a proof that has run out ends the answers from memory', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1h', linkValidFor: '1m' });
  const image = upstream.addImage('team/app', { tag: '1' });
  const urls = ['1', image.root.digest].map((reference) => `/v2/up/team/app/manifests/${reference}`);
  await cache.get(urls[0]!);
  for (const url of urls) expect(await agreed(cache, url)).toBe(true);
  await cache.clock.advance(60_001);
  for (const url of urls) expect(atOnce(cache, url)).toBeUndefined();
});

test('a repository that proved nothing gets nothing from memory, whoever else has the bytes', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1h' });
  const image = upstream.addImage('team/app', { tag: '1' });
  await cache.get('/v2/up/team/app/manifests/1');
  expect(atOnce(cache, `/v2/up/team/else/manifests/${image.root.digest}`)).toBeUndefined();
});

test('stale answers, which carry a warning or are asked about, do not come from memory', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1s', staleWhileRevalidateFor: '1m' });
  upstream.addImage('team/app', { tag: '1' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  await upstream.stop();
  await cache.clock.advance(2_000);
  expect(atOnce(cache, url)).toBeUndefined();
  await cache.clock.advance(120_000);
  expect((await cache.get(url)).headers['warning']).toMatch(/^299 /);
  expect(atOnce(cache, url)).toBeUndefined();
});

test('a closed cache answers nothing from memory', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1h' });
  upstream.addImage('team/app', { tag: '1' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  expect(atOnce(cache, url)).toBeDefined();
  const closing = cache.cache.close();
  expect(atOnce(cache, url)).toBeUndefined();
  expect((await cache.get(url)).status).toBe(503);
  await closing;
});

test('after a restart the first answer comes from the store, the next from memory', async () => {
  const { upstream, cache } = await startPair({ freshFor: '1h' });
  upstream.addImage('team/app', { tag: '1' });
  const url = '/v2/up/team/app/manifests/1';
  await cache.get(url);
  await cache.restart();
  expect(await agreed(cache, url)).toBe(false);
  expect(await agreed(cache, url)).toBe(true);
});
