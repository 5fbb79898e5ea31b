import { seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { digestOfBody, startCache, startPair } from '../semantics/cache-under-test.ts';
import { pullImage } from '../semantics/pull-image.ts';
import { rawClient, say } from './raw-client.ts';

const MiB = 1024 * 1024;
const digest = `sha256:${'a1'.repeat(32)}`;
const close = 'Host: x\r\nConnection: close\r\n\r\n';
const line = (target: string, method = 'GET') => `${method} ${target} HTTP/1.1\r\n${close}`;

async function start(options: Parameters<typeof startPair>[0] = {}) {
  const pair = await startPair(options);
  const image = pair.upstream.addImage('team/app', { tag: '1', layerSizes: [200_000] });
  return {
    ...pair,
    image,
    /** The next client gets a whole image, and nothing unforeseen happened. */
    async expectWell() {
      expect((await pullImage(pair.cache, { path: '/v2/up/team/app', tag: '1' })).digest).toBe(image.root.digest);
      expect(pair.cache.seen('request').filter(({ defect }) => defect !== undefined)).toEqual([]);
      expect(JSON.stringify(pair.cache.events)).not.toMatch(/\\[rn](?! {4}at)|\\u0000/);
    },
  };
}

describe('a target', () => {
  const name = 'NAME_INVALID';
  const tag = 'MANIFEST_UNKNOWN';
  const page = 'PAGINATION_NUMBER_INVALID';

  test.each<[target: string, status: number, code: string]>([
    // Encoded slashes and dots, once and twice, backslashes, overlong and broken encodings.
    ['/v2/up%2fteam%2fapp/manifests/1', 400, name],
    ['/v2/up/team%2Fapp/manifests/1', 400, name],
    ['/v2/up/..%2f..%2fetc%2fpasswd/manifests/1', 400, name],
    ['/v2/up/%2e%2e/%2e%2e/manifests/1', 400, name],
    ['/v2/up/%252e%252e/manifests/1', 400, name],
    ['/v2/up/..%5c..%5cx/manifests/1', 400, name],
    ['/v2/up/%c0%ae%c0%ae/manifests/1', 400, name],
    ['/v2/up/%e0%80%af/manifests/1', 400, name],
    ['/v2/up/%ff/manifests/1', 400, name],
    ['/v2/up/%/manifests/1', 400, name],
    ['/v2/up/%u002e/manifests/1', 400, name],
    ['/v2/up/../../etc/manifests/1', 400, name],
    ['/v2/up/./x/manifests/1', 400, name],
    ['/v2/up//x/manifests/1', 400, name],
    ['/v2/up/team/app;a=b/manifests/1', 400, name],
    // What would break out of a header, a log line or a path.
    ['/v2/up/a%0d%0aX-Evil:1/manifests/1', 400, name],
    ['/v2/up/a%00/manifests/1', 400, name],
    ['/v2/up/__proto__/manifests/1', 400, name],
    ['/v2/up/team/app/manifests/1%0d%0aX-Evil:1', 400, 'DIGEST_INVALID'],
    ['/v2/up/team/app/manifests/1%00', 404, tag],
    ['/v2/up/team/app/manifests/%2e%2e', 404, tag],
    ['/v2/up/team/app/manifests/..%2f1', 404, tag],
    ['/v2/up/team/app/manifests/%e2%80%a8', 404, tag],
    ['/v2/up/team/app/blobs/sha256:..%2f..%2fx', 400, 'DIGEST_INVALID'],
    [`/v2/up/team/app/blobs/__proto__:${'a'.repeat(64)}`, 400, 'DIGEST_INVALID'],
    // Lengths.
    [`/v2/up/${'a'.repeat(255)}/manifests/1`, 400, name],
    [`/v2/up/${'a/'.repeat(5_000)}a/manifests/1`, 400, name],
    [`/v2/up/team/app/manifests/${'a'.repeat(129)}`, 404, tag],
    [`/v2/up/team/app/manifests/${'a'.repeat(12_000)}`, 404, tag],
    [`/v2/up/team/app/blobs/sha256:${'a'.repeat(12_000)}`, 400, 'DIGEST_INVALID'],
    // Queries.
    ['/v2/up/team/app/manifests/1?ns=a&ns=b', 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/manifests/1?ns=%0d%0aX-Evil:1', 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/manifests/1?ns=%00', 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/manifests/1?ns=d%c3%b6cker.io', 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/manifests/1?ns=169.254.169.254', 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/manifests/1?ns=__proto__', 404, 'NAME_UNKNOWN'],
    [`/v2/up/team/app/manifests/1?ns=${'a'.repeat(12_000)}`, 404, 'NAME_UNKNOWN'],
    ['/v2/up/team/app/tags/list?n=1&n=2', 400, page],
    ['/v2/up/team/app/tags/list?n=99999999999999999999', 400, page],
    ['/v2/up/team/app/tags/list?n=-1', 400, page],
    ['/v2/up/team/app/tags/list?last=%0d%0aX', 400, page],
    ['/v2/up/team/app/tags/list?cursor=x', 400, page],
    [`/v2/up/team/app/tags/list?cursor=u.${'a'.repeat(9_000)}`, 400, page],
    [`/v2/up/team/app/tags/list?cursor=u.${'a'.repeat(5_000)}`, 400, page],
    // Names that are nobody's.
    ['/v2/constructor/x/manifests/1', 404, 'NAME_UNKNOWN'],
    ['/v2/hasownproperty/x/manifests/1', 404, 'NAME_UNKNOWN'],
  ])('%s is told what is wrong with it, and nobody is asked', async (target, status, code) => {
    const { upstream, cache, expectWell } = await start();
    const got = await say(cache.url, line(target));
    expect([got.status, JSON.parse(got.body).errors[0].code]).toEqual([status, code]);
    expect(got.headers.toLowerCase()).not.toMatch(/\nx-evil|oci-namespace/);
    expect(got.body.length).toBeLessThan(1_000);
    expect(upstream.requests).toEqual([]);
    await expectWell();
  });

  test.each([
    ['//v2/', 404],
    ['/v2', 200],
    ['/V2/', 404],
    ['/%762/', 404],
    ['/./v2/', 404],
    ['/x/../v2/', 404],
    ['\\v2\\', 404],
    ['http://evil.example/v2/', 200],
    ['http://evil.example:80//v2/', 404],
    ['http://evil.example', 404],
    ['*', 404],
    [`/v2/?${'a&'.repeat(5_000)}`, 200],
    [`/v2/up/team/app/manifests/1?${'%6e=1&'.repeat(2_000)}`, 200],
  ])('of the form %s is answered %i', async (target, status) => {
    const { cache, expectWell } = await start();
    const got = await say(cache.url, line(target));
    expect([400, status]).toContain(got.status);
    expect(got.headers + got.body).not.toContain('evil');
    await expectWell();
  });
});

describe('a method', () => {
  test.each([
    ['OPTIONS', 405],
    ['TRACE', 405],
    ['PROPFIND', 405],
    ['POST', 403],
    ['PUT', 403],
    ['PATCH', 403],
    ['DELETE', 403],
    ['get', 400],
    ['EVIL', 400],
  ])('%s is answered %i, and repeats nothing', async (method, status) => {
    const { upstream, cache, expectWell } = await start();
    const text = `${method} /v2/up/team/app/manifests/1 HTTP/1.1\r\nX-Evil: secret\r\n${close}`;
    const got = await say(cache.url, text);
    expect(got.status).toBe(status);
    expect(got.headers + got.body).not.toMatch(/secret|x-evil/i);
    expect(upstream.requests).toEqual([]);
    await expectWell();
  });

  test('CONNECT makes no proxy of the cache', async () => {
    const { upstream, cache, expectWell } = await start();
    const got = await say(cache.url, `CONNECT ${upstream.host} HTTP/1.1\r\n${close}GET /v2/ HTTP/1.1\r\n${close}`);
    expect(got.status).toBeNaN();
    expect(upstream.requests).toEqual([]);
    await expectWell();
  });

  test('HEAD of everything moves no body', async () => {
    const { cache, image, expectWell } = await start();
    const paths = [
      '',
      'up/team/app/manifests/1',
      `up/team/app/blobs/${image.layers[0]!.digest}`,
      'up/team/app/tags/list',
    ];
    for (const path of [...paths, 'up/UP/manifests/1', `up/team/app/blobs/${digest}`]) {
      const got = await say(cache.url, line(`/v2/${path}`, 'HEAD'));
      expect([path, got.body]).toEqual([path, '']);
    }
    await expectWell();
  });
});

describe('a body', () => {
  const upload = 'POST /v2/up/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n';
  const chunk = `4000\r\n${'a'.repeat(0x4000)}\r\n`;

  test.each([
    ['of a push', `${upload}Transfer-Encoding: chunked\r\n\r\n`, 403],
    ['of a push that waits to be let', `${upload}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n`, 403],
    ['of a push that says a terabyte', `${upload}Content-Length: 1099511627776\r\n\r\n`, 403],
    ['of a GET', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', 200],
  ])('%s that never ends is answered, and no more of it is taken', async (_what, head, status) => {
    const { upstream, cache, expectWell } = await start();
    const client = await rawClient(cache.url);
    client.send(head);
    const taken = await client.flood(head.includes('chunked') ? chunk : 'a'.repeat(0x4000));
    expect(client.got()).toMatch(new RegExp(`HTTP/1.1 ${status} `));
    expect(taken).toBeLessThan(32 * MiB);
    expect(upstream.requests).toEqual([]);
    await expectWell();
  });

  test('of a GET that is said to come changes nothing', async () => {
    const { cache, expectWell } = await start();
    const got = await say(cache.url, `GET /v2/ HTTP/1.1\r\nContent-Length: 5\r\n${close}hello`);
    expect([got.status, got.body]).toEqual([200, '{}']);
    await expectWell();
  });

  test.each([
    ['two lengths', 'Content-Length: 1\r\nContent-Length: 2\r\n'],
    ['a length and chunks', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'],
    ['a length with a sign', 'Content-Length: +1\r\n'],
    ['an encoding that is none', 'Transfer-Encoding: evil\r\n'],
  ])('of %s hides no second request', async (_what, headers) => {
    const { upstream, cache, expectWell } = await start();
    const hidden = 'GET /v2/up/team/app/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n';
    const got = await say(cache.url, `POST /v2/x HTTP/1.1\r\n${headers}Host: x\r\n\r\n0\r\n\r\n${hidden}`);
    expect(got.status).toBe(400);
    expect(upstream.requests).toEqual([]);
    await expectWell();
  });
});

describe('headers', () => {
  test.each([
    ['a header of 20 KB', `X: ${'a'.repeat(20_000)}\r\n`, 431],
    ['20,000 headers', 'X: a\r\n'.repeat(20_000), 431],
    ['a NUL', 'X: a\0b\r\n', 400],
    ['a bare line break', 'X: a\rX-Evil: 1\r\n', 400],
    ['no host', '', 200],
    ['a host that is none', 'Host: <script>\r\n', 200],
    ['a host of 10 KB', `Host: ${'a'.repeat(10_000)}\r\n`, 200],
    ['other letters than ASCII', 'X: \xff\xfe\r\nIf-None-Match: "\xff"\r\nRange: \xff\r\n', 200],
  ])('%s: %s', async (_what, headers, status) => {
    const { cache, expectWell } = await start();
    const got = await say(cache.url, `GET /v2/ HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`);
    expect([400, status]).toContain(got.status);
    expect(got.headers + got.body).not.toMatch(/script|x-evil|aaaa/i);
    await expectWell();
  });

  test('hundreds of requests in one breath are answered in their order', async () => {
    const { cache, expectWell } = await start();
    const client = await rawClient(cache.url);
    const paths = Array.from({ length: 300 }, (_, at) => (at % 2 ? '/v2/' : '/v2/up/UP/manifests/1'));
    client.send(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join('') + line('/v2/'));
    await client.closed;
    const statuses = [...client.got().matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => status);
    expect(statuses).toEqual([...paths.map((path) => (path === '/v2/' ? '200' : '400')), '200']);
    await expectWell();
  });
});

describe('ranges', () => {
  const size = 200_000;
  const many = (count: number, range: (at: number) => string) =>
    `bytes=${Array.from({ length: count }, (_, at) => range(at)).join(',')}`;

  test.each<[what: string, range: string, status: number, most: number]>([
    ['thousands that are the whole', many(2_000, () => '0-'), 400, 1_000],
    ['thousands that overlap', many(1_500, (at) => `${at}-`), 400, 1_000],
    ['as many as are taken, all of them the whole', many(256, () => '0-'), 206, size],
    ['as many as are taken, that overlap', many(256, (at) => `${at}-${size - at}`), 206, size],
    ['as many as are taken, of one byte each', many(256, (at) => `${at * 2}-${at * 2}`), 206, 256 * 250],
    ['thousands of nothing', many(10_000, () => ''), 200, size],
    ['numbers beyond numbers', `bytes=0-${'9'.repeat(10_000)}`, 206, size],
    ['a start beyond numbers', `bytes=${'9'.repeat(10_000)}-`, 416, 1_000],
    ['a sign', 'bytes=+0-5', 200, size],
    ['below zero', 'bytes=--5', 200, size],
    ['another unit', 'evil=0-5', 200, size],
  ])('%s are answered with no more than the blob', async (_what, range, status, most) => {
    const { cache, image, expectWell } = await start();
    const path = `/v2/up/team/app/blobs/${image.layers[0]!.digest}`;
    for (const state of ['cold', 'stored']) {
      const got = await cache.get(path, { headers: { range } });
      expect([state, got.status, got.failure]).toEqual([state, status, undefined]);
      expect(got.body.byteLength).toBeLessThanOrEqual(most);
      expect(got.body.toString('latin1')).not.toContain('evil');
      await cache.get(path);
    }
    await expectWell();
  });
});

describe('a client that never reads its answer', () => {
  test('holds no transfer, no memory and no file for longer than stalledFor', async () => {
    const errors: unknown[] = [];
    const mount = { stalledFor: 200, onError: (error: unknown) => errors.push(error) };
    const { upstream, cache, expectWell } = await start({ cache: { maxRequests: 1 }, mount });
    const bytes = Buffer.from(seededBytes('unread', 48 * MiB));
    const blob = upstream.putBlob('team/app', bytes);
    const client = await rawClient(cache.url);
    client.socket.pause();
    client.send(`GET /v2/up/team/app/blobs/${blob} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await expect.poll(() => errors, { timeout: 20_000 }).toMatchObject([{ code: 'aborted' }]);
    // Its place among maxRequests is free again, and what it asked for came in all the same.
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome, { timeout: 20_000 }).toBe('stored');
    expect(digestOfBody((await cache.get(`/v2/up/team/app/blobs/${blob}`)).body)).toBe(blob);
    await expectWell();
  });
});

test('a cursor that a client makes up asks the upstream for nothing but a list', async () => {
  const { upstream, cache, expectWell } = await start();
  for (const cursor of [
    'u.../../x?y',
    'u.%0d%0aX-Evil: 1',
    'u.http://169.254.169.254/',
    `u.${'a&'.repeat(1_000)}`,
    's.../..',
  ]) {
    await cache.get(`/v2/up/team/app/tags/list?cursor=${encodeURIComponent(cursor)}`);
  }
  expect(new Set(upstream.requests.map(({ path }) => path))).toEqual(new Set(['/v2/team/app/tags/list']));
  expect(upstream.requests.some(({ headers }) => 'x-evil' in headers)).toBe(false);
  await expectWell();
});

test('a web request is told the same', async () => {
  const cache = await startCache({ upstreams: [{ key: 'up', url: 'http://127.0.0.1:9' }] });
  const url = (path: string) => new Request(`http://x.example/v2/${path}`);
  for (const [path, status] of [
    ['up/a%2fb/manifests/1', 400],
    ['up/%00/manifests/1', 400],
    ['up/a/manifests/1%0d%0a', 404],
    [`up/a/tags/list?${'a&'.repeat(500_000)}`, 502],
    [`up/${'a/'.repeat(100_000)}a/manifests/1`, 400],
  ] as const) {
    expect((await cache.cache.fetch(url(path))).status).toBe(status);
  }
});
