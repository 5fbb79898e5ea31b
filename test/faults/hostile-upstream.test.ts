import { describe, expect, test } from 'vitest';
import { evil, startHostile } from './hostile-pair.ts';
import { answer, digestOf, makeImage, manifestType, type RawAnswer } from './raw-upstream.ts';

const MiB = 1024 * 1024;
const image = makeImage();
const byTag = /^GET .*\/manifests\/1$/;
const typed = { 'Content-Type': manifestType };
const good = { ...typed, 'Docker-Content-Digest': image.digest };
const raw = (bytes: string, more: Partial<RawAnswer> = {}): RawAnswer => ({ bytes, close: true, ...more });
const whole = image.manifest.toString('latin1');
const length = `Content-Length: ${whole.length}\r\n`;
const start = `HTTP/1.1 200 OK\r\nContent-Type: ${manifestType}\r\n`;

describe('an answer that is no HTTP/1.1', () => {
  test.each<[what: string, answer: RawAnswer]>([
    ['garbage', raw('\x00\x01\x02\xff\xfe')],
    ['another protocol', raw('SSH-2.0-OpenSSH_9.2\r\n')],
    ['a body without a head', raw(whole)],
    ['another version', raw(`HTTP/9.9 200 OK\r\n${length}\r\n${whole}`)],
    ['no status', raw(`HTTP/1.1 OK\r\n${length}\r\n${whole}`)],
    ['a status of four digits', raw(`HTTP/1.1 2000 OK\r\n${length}\r\n${whole}`)],
    ['a NUL in a header', raw(`${start}X-Evil: a\0b\r\n${length}\r\n${whole}`)],
    ['a control character in a header', raw(`${start}ETag: "a\x01b"\r\n${length}\r\n${whole}`)],
    ['a bare line break in a header', raw(`${start}X: a\rX-Evil: b\r\n${length}\r\n${whole}`)],
    ['a space before the colon', raw(`${start}X-Evil : b\r\n${length}\r\n${whole}`)],
    ['a header of 100 KB', raw(`${start}X-Evil: ${'a'.repeat(100_000)}\r\n${length}\r\n${whole}`)],
    ['100,000 headers', raw(`${start}${'X-Evil: a\r\n'.repeat(100_000)}${length}\r\n${whole}`)],
    ['headers without an end', { bytes: start, endless: `X-Evil: ${'a'.repeat(1000)}\r\n` }],
    ['a header without an end', { bytes: `${start}X-Evil: `, endless: 'a'.repeat(1000) }],
    ['a length with a plus', raw(`${start}Content-Length: +${whole.length}\r\n\r\n${whole}`)],
    ['a length below zero', raw(`${start}Content-Length: -1\r\n\r\n${whole}`)],
    ['a length that is none', raw(`${start}Content-Length: 1e3\r\n\r\n${whole}`)],
    ['a length beyond numbers', raw(`${start}Content-Length: 99999999999999999999\r\n\r\n${whole}`)],
    ['two lengths', raw(`${start}${length}Content-Length: 1\r\n\r\n${whole}`)],
    ['a length and chunks', raw(`${start}${length}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`)],
  ])('%s: 502 that says so, and no more of it is read', async (_what, said) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, said);
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(got.body.toString()).toMatch(/up (does not speak HTTP|closed the connection|sent|answered)/);
    expect(got.body.toString()).not.toMatch(/aaaa|SSH|X-Evil/);
    expect(upstream.sent()).toBeLessThan(8 * MiB);
    await expectWell();
  });

  test('an upgrade that nobody asked for: 502', async () => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, raw('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x-evil\r\nConnection: upgrade\r\n\r\n'));
    expect((await ask('manifests/1')).status).toBe(502);
    await expectWell();
  });

  test.each([
    ['early hints', 'HTTP/1.1 103 Early Hints\r\nLink: </x-evil>; rel=preload\r\n\r\n'],
    ['processing', 'HTTP/1.1 102 Processing\r\n\r\n'],
  ])('%s without an end: 504 in time', async (_what, hint) => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, { bytes: hint, endless: hint });
    const asked = ask('manifests/1');
    await expect.poll(() => upstream.sent()).toBeGreaterThan(hint.length);
    await cache.clock.advance(10_000);
    expect((await asked).status).toBe(504);
    await expectWell();
  });
});

describe('an odd answer that is right all the same', () => {
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const bytewise = [...whole].map((byte) => `1\r\n${byte}\r\n`).join('');

  test.each<[what: string, answer: RawAnswer]>([
    ['HTTP/1.0, until the connection closes', raw(`HTTP/1.0 200 OK\r\nContent-Type: ${manifestType}\r\n\r\n${whole}`)],
    ['without a length, until the connection closes', raw(`${start}\r\n${whole}`)],
    ['in chunks of one byte', raw(`${start}${chunked}\r\n${bytewise}0\r\n\r\n`)],
    [
      'with chunk extensions',
      raw(`${start}${chunked}\r\n${whole.length.toString(16)};a="${evil}"\r\n${whole}\r\n0\r\n\r\n`),
    ],
    ['with trailers', raw(`${start}${chunked}\r\n${whole.length.toString(16)}\r\n${whole}\r\n0\r\nX-Evil: 1\r\n\r\n`)],
    ['after early hints', raw(`HTTP/1.1 103 Early Hints\r\nX-Evil: 1\r\n\r\n${start}${length}\r\n${whole}`)],
    [
      'with headers that we have no use for',
      answer('200 OK', { ...good, 'X-Evil': 'a', 'Set-Cookie': 'x-evil=1' }, whole),
    ],
    [
      'with an ETag and dates that are none',
      answer('200 OK', { ...good, ETag: 'W/"\xe9', Date: 'never', Age: '-1' }, whole),
    ],
    [
      'with an answer to nothing behind it',
      raw(`${start}${length}\r\n${whole}HTTP/1.1 200 OK\r\nX-Evil: 1\r\n${length}\r\n${whole}`, { close: false }),
    ],
    ['with rubbish behind it', raw(`${start}${length}\r\n${whole}${'rubbish'.repeat(1000)}`, { close: false })],
  ])('%s', async (_what, said) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, said);
    const got = await ask('manifests/1');
    expect([got.status, digestOf(got.body)]).toEqual([200, image.digest]);
    await expectWell();
  });

  test.each([
    ['a chunk extension without an end', { bytes: `${start}${chunked}\r\n5;`, endless: 'a'.repeat(1000) }],
    ['trailers without an end', { bytes: `${start}${chunked}\r\n0\r\n`, endless: `X-Evil: ${'a'.repeat(1000)}\r\n` }],
  ])('%s: a failure in time', async (_what, said) => {
    const { upstream, cache, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, said);
    const asked = ask('manifests/1');
    await expect.poll(() => upstream.sent()).toBeGreaterThan(MiB);
    await cache.clock.advance(10_000);
    const got = await asked;
    expect([502, 504]).toContain(got.status);
    await expectWell();
  });
});

describe('a status that means nothing here', () => {
  test.each([
    ['204 No Content', 503],
    ['206 Partial Content', 503],
    ['304 Not Modified', 503],
    ['300 Multiple Choices', 503],
    ['302 Found', 503],
    ['418 I am a teapot', 502],
    ['599 Odd', 503],
    ['999 Odd', 503],
  ])('%s: %i, and what came is not taken for the image', async (status, expected) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const body = status.startsWith('204') || status.startsWith('304') ? '' : whole;
    upstream.on(byTag, { ...answer(status, { ...good, 'Content-Range': 'bytes 0-1/2' }, body), close: true });
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([expected, 'UNAVAILABLE']);
    await expectWell();
  });
});

describe('a redirect', () => {
  test.each([
    ['to itself', '/v2/team/app/manifests/1'],
    ['to itself by another name', '?again'],
  ])('%s: 502 after five', async (_what, location) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(/^GET /, answer('307 Temporary Redirect', { Location: location }));
    const got = await ask('manifests/1');
    expect([got.status, got.body.toString()]).toEqual([502, expect.stringContaining('redirected more than 5 times')]);
    expect(upstream.requests.length % 6).toBe(0);
    await expectWell();
  });

  test.each([
    ['link-local', 'http://169.254.169.254/latest/meta-data'],
    ['link-local, in decimal', 'http://2852039166/'],
    ['link-local, in hexadecimal', 'http://0xa9fea9fe/'],
    ['link-local, in octal', 'http://0251.0376.0251.0376/'],
    ['link-local, in mixed parts', 'http://0xa9.254.43518/'],
    ['link-local, mapped into IPv6', 'http://[::ffff:169.254.169.254]/'],
    ['link-local, mapped into IPv6 in hexadecimal', 'http://[::ffff:a9fe:a9fe]/'],
    ['link-local, translated', 'http://[64:ff9b::a9fe:a9fe]/'],
    ['link-local of IPv6', 'http://[fe80::1]/'],
    ['unspecified', 'http://0.0.0.0/'],
    ['unspecified, in short', 'http://0/'],
    ['unspecified of IPv6', 'http://[::]/'],
    ['another scheme', 'ftp://registry.example/x'],
    ['a script', 'javascript:alert(1)'],
    ['a file', 'file:///etc/passwd'],
  ])('to an address that is %s: 502 that says so, and nobody is asked', async (_what, location) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    const bytes = Buffer.from(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`);
    upstream.on(byTag, { bytes });
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(got.body.toString()).toMatch(/nothing may lead to|neither https nor http/);
    expect(got.body.toString()).not.toMatch(/169|passwd|alert|meta-data/);
    expect(upstream.requests.every((line) => line.endsWith('/manifests/1'))).toBe(true);
    await expectWell();
  });

  test.each([
    ['without a host', 'http://'],
    ['with half a host', 'http://['],
    ['with half a path', '//'],
    ['with a space in it', 'http://a b/'],
    ['with a port beyond ports', 'http://x:99999/'],
    ['whose host is longer than any', `http://${'a'.repeat(12_000)}.example/`],
  ])('to a URL %s: 502', async (_what, location) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('302 Found', { Location: location }));
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    await expectWell();
  });
});

describe('429', () => {
  test.each([
    ['99999999999999999999', 60],
    ['999999999', 6 * 3600],
    ['-5', 60],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 6 * 3600],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 1],
    ['\xff\xfe', 60],
  ])('with Retry-After %j reaches the client as %i s', async (value, seconds) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('429 Too Many Requests', { 'Retry-After': value }));
    const got = await ask('manifests/1');
    expect([got.status, got.headers['retry-after']]).toEqual([429, String(seconds)]);
    if (seconds < 20 * 60) await expectWell();
  });
});

describe('a challenge', () => {
  const realm = (more: string) => ({ 'WWW-Authenticate': more });

  test.each([
    ['of a hundred schemes', `${'Evil a="b", '.repeat(1000)}Negotiate`],
    ['of commas', ','.repeat(15_000)],
    ['of quotes', '"'.repeat(15_000)],
    ['of escapes', `Bearer realm="${'\\'.repeat(14_000)}`],
    ['of a realm that is no URL', 'Bearer realm="http://["'],
    ['of a realm elsewhere', 'Bearer realm="http://169.254.169.254/token"'],
    ['of a realm elsewhere, in decimal', 'Bearer realm="http://2852039166/token"'],
    ['of a realm that is a file', 'Bearer realm="file:///etc/passwd"'],
    ['of a realm whose host is longer than any', `Bearer realm="http://${'a'.repeat(12_000)}.example/"`],
  ])('%s: a refusal, and nobody else is asked', async (_what, challenge) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('401 Unauthorized', realm(challenge)));
    const got = await ask('manifests/1');
    expect([502, 403]).toContain(got.status);
    expect(upstream.requests.every((line) => line.endsWith('/manifests/1'))).toBe(true);
    await expectWell();
  });

  const json = { 'Content-Type': 'application/json' };
  test.each<[what: string, answer: RawAnswer]>([
    ['a token without an end', { bytes: `HTTP/1.1 200 OK\r\n\r\n{"token":"`, endless: 'a'.repeat(1000) }],
    ['a token of 1 MB', answer('200 OK', json, JSON.stringify({ token: 'a'.repeat(MiB) }))],
    ['a token of 100 KB', answer('200 OK', json, JSON.stringify({ token: 'a'.repeat(100_000) }))],
    ['a token with a line break', answer('200 OK', json, JSON.stringify({ token: 'a\r\nX-Evil: b' }))],
    ['an answer nested without an end', answer('200 OK', json, `${'['.repeat(100_000)}${']'.repeat(100_000)}`)],
    ['an answer whose prototype is another', answer('200 OK', json, '{"__proto__":{"token":"evil"}}')],
    ['a web page', answer('200 OK', { 'Content-Type': 'text/html' }, '<html>x-evil</html>')],
    ['a compressed answer', answer('200 OK', { ...json, 'Content-Encoding': 'gzip' }, '\x1f\x8b\x08')],
    ['a redirect to where nothing may lead', answer('302 Found', { Location: 'http://169.254.169.254/' })],
    ['garbage', raw('\x00\x01')],
  ])('whose token service gives %s: 502 that says so', async (_what, said) => {
    const { upstream, ask, expectWell } = await startHostile({ image });
    upstream.on(byTag, answer('401 Unauthorized', realm(`Bearer realm="${upstream.url}/token",service="s"`)));
    upstream.on(/\/token/, said);
    const got = await ask('manifests/1');
    expect([got.status, got.errorCode]).toEqual([502, 'UNAVAILABLE']);
    expect(got.body.toString()).toMatch(/token service|does not speak|closed the connection|nothing may lead to/);
    expect(upstream.sent()).toBeLessThan(12 * MiB);
    await expectWell();
  });

  test('whose token is nested without an end where its lifetime should be is a token of a minute', async () => {
    const { upstream, ask } = await startHostile({ image });
    upstream.on(byTag, (line) =>
      upstream.requests.filter((one) => one === line).length > 1
        ? answer('200 OK', good, whole)
        : answer('401 Unauthorized', realm(`Bearer realm="${upstream.url}/token"`)),
    );
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    upstream.on(/\/token/, answer('200 OK', json, `{"token":"a","expires_in":${deep},"issued_at":${deep}}`));
    expect((await ask('manifests/1')).status).toBe(200);
  });
});
