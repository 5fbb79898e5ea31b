import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { CacheUnderTest } from '../semantics/cache-under-test.ts';
import { startHostile } from './hostile-pair.ts';
import { answer, digestOf, head, makeImage, manifestType, type RawAnswer } from './raw-upstream.ts';

const MiB = 1024 * 1024;
const image = makeImage();
const { layer, layerDigest } = image;
const byTag = /^GET .*\/manifests\/1$/;
const layerGet = new RegExp(`^GET .*/blobs/${layerDigest}$`);
const layerPath = `blobs/${layerDigest}`;
const typed = { 'Content-Type': manifestType };
const page = { 'Content-Type': 'text/html' };
const unbounded = `HTTP/1.1 200 OK\r\nContent-Type: ${manifestType}\r\n`;
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const indexType = 'application/vnd.oci.image.index.v1+json';

const entry = (at: number, more: object = {}) => ({
  mediaType: manifestType,
  digest: `sha256:${at.toString(16).padStart(64, '0')}`,
  size: 1,
  ...more,
});
const entries = (count: number, more?: object) => Array.from({ length: count }, (_, at) => entry(at, more));
const json = (value: object) => Buffer.from(JSON.stringify({ schemaVersion: 2, ...value }));

function storedFiles(cache: CacheUnderTest): number {
  return ['blobs', 'spool', 'tmp']
    .flatMap((folder) => readdirSync(join(cache.directory, folder), { recursive: true, withFileTypes: true }))
    .filter((file) => file.isFile()).length;
}

describe('a manifest', () => {
  test.each<[what: string, answer: RawAnswer]>([
    [
      'without an end, in chunks',
      { bytes: `${unbounded}Transfer-Encoding: chunked\r\n\r\n`, endless: `400\r\n${'a'.repeat(1024)}\r\n` },
    ],
    ['without an end, until the connection closes', { bytes: `${unbounded}\r\n`, endless: 'a'.repeat(1024) }],
    [
      'of a terabyte by its length',
      { bytes: `${unbounded}Content-Length: 1099511627776\r\n\r\n`, endless: 'a'.repeat(1024) },
    ],
    ['of a byte more than is taken', answer('200 OK', typed, Buffer.alloc(4 * MiB + 1, ' '))],
    ['of 100,000 children', answer('200 OK', { 'Content-Type': indexType }, json({ manifests: entries(100_000) }))],
    ['of 100,000 layers', answer('200 OK', typed, json({ layers: entries(100_000) }))],
    ['of annotations of 8 MiB', answer('200 OK', typed, json({ layers: [], annotations: { a: 'b'.repeat(8 * MiB) } }))],
  ])('%s is refused as too large, and no more of it is read', async (_what, said) => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, said);
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(got.body.toString()).toContain('maxManifestBytes');
    expect(upstream.sent()).toBeLessThan(40 * MiB);
    expect(storedFiles(cache)).toBe(0);
    await expectWell();
  });

  test.each<[what: string, headers: Record<string, string>, body: Buffer | string]>([
    ['a web page', page, '<html>x-evil</html>'],
    ['a web page that calls itself a manifest', typed, '<html>x-evil</html>'],
    ['a picture', { 'Content-Type': 'image/png' }, image.manifest],
    ['a picture with scripts', { 'Content-Type': 'image/svg+xml' }, image.manifest],
    ['a type that would split our answer', { 'Content-Type': 'application/vnd.x\tX-Bad: 1' }, image.manifest],
    ['a type in other letters', { 'Content-Type': 'application/vnd.\xe9\u0141' }, image.manifest],
    ['nothing', typed, ''],
    ['null', typed, 'null'],
    ['a list', typed, '[]'],
    ['a number', typed, `1${'0'.repeat(100_000)}`],
    ['JSON nested without an end', typed, `{"layers":[],"x":${deep(1_000_000)}}`],
    ['JSON that is cut off', typed, image.manifest.subarray(0, -1)],
    ['what is not UTF-8', typed, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
    [
      'sizes beyond numbers',
      typed,
      json({ layers: [entry(1)] })
        .toString()
        .replace('"size":1', '"size":1e999'),
    ],
    ['sizes below zero', typed, json({ layers: [entry(1, { size: -1 })] })],
    ['digests that are none', typed, json({ layers: [{ digest: 7, size: 1 }] })],
    ['layers that are no list', typed, json({ layers: { length: 1e9 } })],
    ['an image and an index at once', typed, json({ manifests: [], layers: [] })],
    ['a body of another type', typed, json({ mediaType: indexType, manifests: [] })],
    ['other bytes than its digest', { ...typed, 'Docker-Content-Digest': layerDigest }, image.manifest],
  ])('that is %s is refused, and not stored', async (_what, headers, body) => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('200 OK', headers, body));
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(got.body.toString()).not.toContain('x-evil');
    expect(storedFiles(cache)).toBe(0);
    await expectWell();
  });

  test('whose digest is another is not what was asked for by digest, whatever its header says', async () => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    const other = json({ layers: [] });
    for (const said of [image.digest, digestOf(other), 'sha256:x', 'evil']) {
      upstream.on(/\/manifests\/sha256/, answer('200 OK', { ...typed, 'Docker-Content-Digest': said }, other));
      const got = await ask(`manifests/${image.digest}`);
      expect([said, got.status]).toEqual([said, 502]);
    }
    expect(storedFiles(cache)).toBe(0);
    await expectWell();
  });

  test.each(['gzip', 'deflate', 'br', 'zstd', 'x-gzip', 'identity, gzip', `x${'y'.repeat(5_000)}`])(
    'and a blob that are compressed (%s) are refused: nobody asked for that',
    async (encoding) => {
      const { upstream, cache, ask, expectWell } = await startHostile({ image });
      const bomb = gzipSync(Buffer.alloc(10 * MiB));
      const headers = { ...typed, 'Content-Encoding': encoding };
      upstream.on(/^GET /, answer('200 OK', headers, bomb));
      for (const path of ['manifests/1', layerPath]) {
        const got = await ask(path);
        expect([got.status, got.body.toString()]).toEqual([502, expect.stringContaining('compressed')]);
        expect(got.body.byteLength).toBeLessThan(500);
      }
      expect(storedFiles(cache)).toBe(0);
      await expectWell();
    },
  );

  test('with keys that programs trip over is served as it came, and changes nothing here', async () => {
    const text =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1,' +
      '"schemaVersion":2,"schemaVersion":2,"layers":[],"layers":[],"annotations":{"__proto__":"x","a":"\\u0000\\r\\nX-Evil: 1"}}';
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('200 OK', typed, text));
    const got = await ask('manifests/1');
    expect([got.status, got.body.toString()]).toEqual([200, text]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    await expectWell();
  });

  test('HEAD of which is a web page, or lies, costs no wrong answer to GET', async () => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(/^HEAD .*\/manifests/, { bytes: head('200 OK', { ...page, 'Content-Length': '5' }) });
    expect((await ask('manifests/1', { method: 'HEAD' })).status).toBe(502);
    const lie = { ...typed, 'Docker-Content-Digest': layerDigest, 'Content-Length': '999999999999' };
    upstream.on(/^HEAD .*\/manifests/, { bytes: head('200 OK', lie) });
    expect((await ask('manifests/1', { method: 'HEAD' })).headers['docker-content-digest']).toBe(layerDigest);
    const got = await ask('manifests/1');
    expect([got.status, digestOf(got.body)]).toEqual([200, image.digest]);
    expect(cache.seen('request').at(-1)?.defect).toBeUndefined();
    await expectWell();
  });

  test('HEAD of which is answered with a body does not spoil the next answer', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const headers = {
      ...typed,
      'Docker-Content-Digest': image.digest,
      'Content-Length': String(image.manifest.length),
    };
    const evilAnswer = head('200 OK', { ...typed, 'X-Evil': '1', 'Content-Length': '2' });
    upstream.on(/^HEAD .*\/manifests/, { bytes: `${head('200 OK', headers)}${evilAnswer}{}` });
    expect((await ask('manifests/1', { method: 'HEAD' })).status).toBe(200);
    const got = await ask('manifests/1');
    expect([got.status, digestOf(got.body)]).toEqual([200, image.digest]);
    await expectWell();
  });
});

describe('an index of 100,000 entries, where maxManifestBytes takes it', () => {
  const options = { image, maxManifestBytes: 64 * MiB };

  test('is served, and looked at no further than 2,000 entries while its tag changes or its upstream is away', async () => {
    const { upstream, cache, ask, expectWell } = await startHostile(options);
    const bomb = json({ mediaType: indexType, manifests: entries(100_000) });
    upstream.on(/\/manifests\/1$/, (line) =>
      line.startsWith('HEAD')
        ? {
            bytes: head('200 OK', {
              'Content-Type': indexType,
              'Content-Length': String(bomb.length),
              'Docker-Content-Digest': digestOf(bomb),
            }),
          }
        : answer('200 OK', { 'Content-Type': indexType }, bomb),
    );
    const got = await ask('manifests/1');
    expect([got.status, digestOf(got.body)]).toEqual([200, digestOf(bomb)]);
    expect(await cache.cache.has('up/team/app:1')).toBe(false);
    await expectWell();
  });

  test('and an image of 100,000 layers are served as they came', async () => {
    const { upstream, ask, expectWell } = await startHostile(options);
    const bomb = json({ mediaType: manifestType, layers: entries(100_000) });
    upstream.on(byTag, answer('200 OK', typed, bomb));
    const got = await ask('manifests/1');
    expect([got.status, digestOf(got.body)]).toEqual([200, digestOf(bomb)]);
    await expectWell();
  });
});

describe('a blob', () => {
  test.each<[what: string, answer: RawAnswer]>([
    ['a web page', answer('200 OK', page, '<html>x-evil</html>')],
    [
      'a web page of a terabyte',
      { bytes: head('200 OK', { ...page, 'Content-Length': '1099511627776' }), endless: 'a'.repeat(1000) },
    ],
    ['other bytes', answer('200 OK', {}, 'x-evil')],
    ['nothing', answer('200 OK', {}, '')],
    ['a part that nobody asked for', answer('206 Partial Content', { 'Content-Range': 'bytes 0-9/10' }, 'x-evil1234')],
    ['a range that cannot be satisfied', answer('416 Range Not Satisfiable', { 'Content-Range': 'bytes */0' })],
  ])('that is %s is refused by a status, and not stored', async (_what, said) => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(layerGet, said);
    const got = await ask(layerPath);
    expect([502, 503]).toContain(got.status);
    expect(got.errorCode).toBe('UNAVAILABLE');
    expect(got.body.toString()).not.toContain('x-evil');
    await expect.poll(() => storedFiles(cache)).toBe(0);
    await expectWell();
  });

  test('that goes on behind its length is the blob, and the rest is nobody’s', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const bytes = Buffer.concat([answer('200 OK', {}, layer).bytes, Buffer.alloc(MiB, 'x-evil')]);
    upstream.on(layerGet, { bytes });
    const got = await ask(layerPath);
    expect([got.status, digestOf(got.body)]).toEqual([200, layerDigest]);
    await expectWell();
  });

  test('in chunks of one byte is the blob', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const chunks = [...layer.toString('latin1')].map((byte) => `1\r\n${byte}\r\n`).join('');
    upstream.on(layerGet, { bytes: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n` });
    const got = await ask(layerPath);
    expect([got.status, digestOf(got.body)]).toEqual([200, layerDigest]);
    await expectWell();
  });

  test('without an end, of which a manifest tells the size, ends not far behind it', async () => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    await ask('manifests/1');
    const chunk = `10000\r\n${'a'.repeat(65_536)}\r\n`;
    upstream.on(layerGet, { bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', endless: chunk });
    const got = await ask(layerPath);
    expect(got.failure === undefined ? got.status : 'cut off').not.toBe(200);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('failed');
    expect(cache.seen('ingest-ended').at(-1)).toMatchObject({ error: expect.stringContaining('whose manifest says') });
    expect(upstream.sent()).toBeLessThan(64 * MiB);
    await expectWell();
  });

  test.each([
    ['no range', undefined],
    ['another unit', 'items 10-19/100000'],
    ['another part', 'bytes 11-20/100000'],
    ['more than was asked for', 'bytes 10-20/100000'],
    ['a part below zero', 'bytes -10-19/100000'],
    ['a part that ends before it starts', 'bytes 19-10/100000'],
    ['a part behind the end', 'bytes 10-19/15'],
    ['numbers beyond numbers', 'bytes 10-19/99999999999999999999999'],
    ['a sign', 'bytes +10-19/100000'],
    ['two ranges', 'bytes 10-19/100000, 30-39/100000'],
  ])('of which a part is answered with %s: 502, before anything left', async (_what, range) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const headers = range === undefined ? undefined : { 'Content-Range': range };
    upstream.on(layerGet, answer('206 Partial Content', { ...headers }, 'x-evil1234'));
    const got = await ask(layerPath, { headers: { range: 'bytes=10-19' } });
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    await expectWell();
  });

  test('of which a part is said not to be there, though it is: an error, before anything left', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    for (const range of ['bytes */0', 'bytes */5', 'bytes */100000', 'bytes */x']) {
      upstream.on(layerGet, answer('416 Range Not Satisfiable', { 'Content-Range': range }));
      const got = await ask(layerPath, { headers: { range: 'bytes=10-19' } });
      expect([range, [502, 503].includes(got.status)]).toEqual([range, true]);
      expect(got.body.toString()).toContain('UNAVAILABLE');
    }
    await expectWell();
  });

  test('of which all is sent where a part was asked for is cut to the part', async () => {
    const { ask, expectWell } = await startHostile({ image });
    const got = await ask(layerPath, { headers: { range: 'bytes=10-19' } });
    expect([got.status, got.body.equals(layer.subarray(10, 20))]).toEqual([206, true]);
    await expectWell();
  });
});

describe('a list', () => {
  const listed = /\/tags\/list/;
  const of = (value: unknown, headers: Record<string, string> = {}) =>
    answer('200 OK', { 'Content-Type': 'application/json', ...headers }, JSON.stringify(value));

  test.each<[what: string, answer: RawAnswer]>([
    [
      'without an end',
      { bytes: 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"tags":[', endless: '"a",'.repeat(1000) },
    ],
    ['a web page', answer('200 OK', page, '<html>x-evil</html>')],
    ['nested without an end', answer('200 OK', {}, `{"tags":${deep(1_000_000)}}`)],
    ['that is none', of({ tags: { length: 5 } })],
  ])('of tags %s: 502', async (_what, said) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(listed, said);
    const got = await ask('tags/list');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(upstream.sent()).toBeLessThan(48 * MiB);
    await expectWell();
  });

  test('of tags that go on for ever goes on only as clients ask', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    let pages = 0;
    upstream.on(listed, () => of({ tags: ['a'] }, { Link: `</v2/team/app/tags/list?last=${++pages}>; rel="next"` }));
    let path = 'tags/list';
    for (let asked = 1; asked <= 3; asked++) {
      const got = await ask(path);
      path = /^<([^>]+)>; rel="next"$/.exec(got.headers['link'] ?? '')?.[1] ?? 'none';
      expect([got.status, upstream.requests.length]).toEqual([200, asked]);
    }
    await expectWell();
  });

  test.each([
    ['a header of ours', '</v2/x?a=%0d%0aX-Evil:1>; rel="next"'],
    ['the end of our link', '</v2/x?a="; rel="next", <http://evil.example/>; x="b>; rel="next"'],
    ['another host', '<http://evil.example/v2/x?a=b>; rel="next"'],
    ['another host, in short', '<//evil.example/v2/x?a=b>; rel="next"'],
    ['a script', '<javascript:alert(1)?a>; rel="next"'],
  ])('whose link would be %s leads nowhere else', async (_what, link) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(listed, of({ tags: ['a'] }, { Link: link }));
    const got = await ask('tags/list');
    expect(got.status).toBe(200);
    expect(got.headers['link'] ?? '').toMatch(
      /^(|<\/v2\/up\/team\/app\/tags\/list\?cursor=[\w.%~!*'()-]+>; rel="next")$/,
    );
    await expectWell();
  });

  test('of tags that are no tags is passed on as JSON, escaped', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const tags = ['\r\nX-Evil: 1', '\u0000', '<script>', '\u2028', '../../x', 'a'.repeat(1_000)];
    upstream.on(listed, of({ name: 'x-evil', tags: [...tags, 7, null, {}] }));
    const got = await ask('tags/list');
    expect(JSON.parse(got.body.toString())).toEqual({ name: 'up/team/app', tags });
    expect([got.headers['content-type'], got.headers['x-content-type-options']]).toEqual([
      'application/json',
      'nosniff',
    ]);
    await expectWell();
  });

  test('of referrers that goes on for ever is refused after 100 pages, never cut', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    let pages = 0;
    upstream.on(/\/referrers\//, () =>
      of({ schemaVersion: 2, manifests: [entry(++pages)] }, { Link: `</v2/x?page=${pages}>; rel="next"` }),
    );
    const got = await ask(`referrers/${image.digest}`);
    expect([got.status, got.body.toString()]).toEqual([502, expect.stringContaining('more than can be listed')]);
    expect(pages).toBeLessThanOrEqual(100 * 3);
    await expectWell();
  });

  test('of referrers whose pages are large and empty is refused after 8 MiB of them', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    let pages = 0;
    upstream.on(/\/referrers\//, () =>
      of({ manifests: [], x: 'y'.repeat(MiB) }, { Link: `</v2/x?page=${++pages}>; rel="next"` }),
    );
    const got = await ask(`referrers/${image.digest}`);
    expect([got.status, got.body.toString()]).toEqual([502, expect.stringMatching(/more than/)]);
    expect(upstream.sent()).toBeLessThan(3 * 12 * MiB);
    await expectWell();
  });
});

describe('an error', () => {
  test.each<[what: string, answer: RawAnswer]>([
    ['without an end', { bytes: 'HTTP/1.1 404 Not Found\r\n\r\n', endless: 'a'.repeat(1000) }],
    ['of a code without an end', answer('404 Not Found', {}, `{"errors":[{"code":"${'A'.repeat(60_000)}"}]}`)],
    [
      'with control characters',
      answer('404 Not Found', {}, '{"errors":[{"code":"X\\r\\nX-Evil: 1","message":"\\u0000\\r\\nX-Evil: 1"}]}'),
    ],
    ['nested without an end', answer('404 Not Found', {}, `{"errors":${deep(30_000)}}`)],
    ['with another prototype', answer('404 Not Found', {}, '{"__proto__":{"errors":[{"code":"MANIFEST_UNKNOWN"}]}}')],
  ])('%s is a refusal in our words', async (_what, said) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(/^GET /, said);
    for (const path of ['manifests/1', layerPath, 'tags/list']) {
      const got = await ask(path);
      expect([404, 502]).toContain(got.status);
      expect(got.body.byteLength).toBeLessThan(500);
      expect(got.body.toString()).not.toMatch(/Evil|AAAA/);
    }
    expect(upstream.sent()).toBeLessThan(40 * MiB);
    await expectWell();
  });
});
