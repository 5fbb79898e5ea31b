import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import type { BlobAnswer, ManifestAnswer } from '../pull/answer.ts';
import { type ByteRange, satisfiableRanges } from '../runtime/byte-range.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { readWebRequest } from './fetch.ts';
import type { HttpResponse } from './message.ts';
import { parseRange } from './range.ts';
import { respondBlob, respondManifest } from './respond.ts';

const options = { now: 100_999, ns: undefined, publicContent: false };

function request(headers: Record<string, string> = {}, method = 'GET') {
  return readWebRequest(new Request('http://cache.example/v2/', { method, headers }));
}

async function bodyOf(response: HttpResponse): Promise<Buffer> {
  if (response.body === null) return Buffer.alloc(0);
  if (response.body instanceof Uint8Array) return Buffer.from(response.body);
  const chunks: Buffer[] = [];
  for await (const chunk of response.body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

const bytes = Buffer.from('{"schemaVersion":2}');
const digest = digestOf(bytes);
const byTag: ManifestAnswer = {
  descriptor: { mediaType: mediaTypes.ociManifest, digest, size: bytes.byteLength },
  bytes,
  byTag: true,
  validatedAt: 95_000,
  cacheStatus: { hit: true },
};
const byDigest: ManifestAnswer = { descriptor: byTag.descriptor, bytes, byTag: false, cacheStatus: { hit: true } };
const common = {
  'docker-distribution-api-version': 'registry/2.0',
  'docker-content-digest': digest,
  etag: `"${digest}"`,
  'x-content-type-options': 'nosniff',
  'cache-status': 'proxycache; hit',
};
const whole = { ...common, 'content-type': mediaTypes.ociManifest, 'content-length': '19' };

describe('respondManifest', () => {
  it('gives a manifest by tag, with its age, to be asked for again', () => {
    expect(respondManifest(byTag, request(), options)).toEqual({
      status: 200,
      headers: { ...whole, 'cache-control': 'no-cache, no-transform', age: '5' },
      body: bytes,
    });
  });

  it('gives a manifest by digest, to be kept for ever by the client alone', () => {
    expect(respondManifest(byDigest, request(), options)).toEqual({
      status: 200,
      headers: { ...whole, 'cache-control': 'private, max-age=31536000, immutable, no-transform' },
      body: bytes,
    });
  });

  it('lets shared caches keep content by digest by option, and tags never', () => {
    const open = { ...options, publicContent: true };
    const control = (answer: ManifestAnswer) => respondManifest(answer, request(), open).headers['cache-control'];
    expect(control(byDigest)).toBe('public, max-age=31536000, immutable, no-transform');
    expect(control(byTag)).toBe('no-cache, no-transform');
  });

  it('gives the same headers on HEAD, without the body', () => {
    const { headers } = respondManifest(byTag, request(), options);
    expect(respondManifest(byTag, request({}, 'HEAD'), options)).toEqual({ status: 200, headers, body: null });
  });

  it('tells on HEAD what is only known', () => {
    const { bytes: _, ...known } = byTag;
    const response = respondManifest(known, request({}, 'HEAD'), options);
    expect(response.headers).toMatchObject({ 'content-length': '19', 'docker-content-digest': digest });
    expect(() => respondManifest(known, request(), options)).toThrow(TypeError);
  });

  it.each(['GET', 'HEAD'])('answers 304 to a %s of what the client has', (method) => {
    const response = respondManifest(byTag, request({ 'if-none-match': `W/"${digest}"` }, method), options);
    expect(response).toEqual({
      status: 304,
      headers: { ...common, 'cache-control': 'no-cache, no-transform', age: '5' },
      body: null,
    });
  });

  it('gives no age below zero when the clock stepped back', () => {
    expect(respondManifest(byTag, request(), { ...options, now: 1 }).headers['age']).toBe('0');
  });

  it('warns of a stale answer and echoes the source host', () => {
    const stale = { ...byTag, warning: 'stale', cacheStatus: { hit: true, detail: 'stale-if-error' } };
    expect(respondManifest(stale, request(), { ...options, ns: 'docker.io' }).headers).toMatchObject({
      warning: '299 - "stale"',
      'cache-status': 'proxycache; hit; detail=stale-if-error',
      'oci-namespace': 'docker.io',
    });
  });
});

const content = Buffer.from(Array.from({ length: 2048 }, (_, i) => (i * 7) % 256));

function blob(parts?: readonly ByteRange[], from: Buffer = content) {
  const told = { reads: 0, closes: 0 };
  async function* slice(part: ByteRange | undefined): Bytes & AsyncGenerator<Uint8Array> {
    const wanted = part ? from.subarray(part.from, part.to + 1) : from;
    for (let at = 0; at < wanted.byteLength; at += 500) yield wanted.subarray(at, at + 500);
  }
  const answer: BlobAnswer = {
    digest: digestOf(from),
    size: from.byteLength,
    cacheStatus: { hit: true },
    ...(parts && { parts }),
    read(part) {
      told.reads++;
      return slice(part);
    },
    async close() {
      told.closes++;
    },
  };
  return { answer, told };
}

/** Reads a multipart body as strictly as RFC 2046 5.1 lets a client. */
function partsOf(body: Buffer, boundary: string): { range: string | undefined; content: Buffer }[] {
  const text = body.toString('latin1');
  expect(text.startsWith(`--${boundary}\r\n`)).toBe(true);
  expect(text.endsWith(`\r\n--${boundary}--\r\n`)).toBe(true);
  return `\r\n${text}`
    .split(`\r\n--${boundary}`)
    .slice(1, -1)
    .map((part) => {
      const end = part.indexOf('\r\n\r\n');
      expect(part.slice(0, end)).toContain('\r\nContent-Type: application/octet-stream');
      const range = /\r\nContent-Range: (.*)/.exec(part.slice(0, end))?.[1];
      return { range, content: Buffer.from(part.slice(end + 4), 'latin1') };
    });
}

describe('respondBlob', () => {
  const headers = {
    ...common,
    'docker-content-digest': digestOf(content),
    etag: `"${digestOf(content)}"`,
    'accept-ranges': 'bytes',
    'cache-control': 'private, max-age=31536000, immutable, no-transform',
    'content-type': 'application/octet-stream',
  };

  it('gives the whole, and closes it once it was read', async () => {
    const { answer, told } = blob();
    const response = await respondBlob(answer, request(), options);
    expect(response).toMatchObject({ status: 200, headers: { ...headers, 'content-length': '2048' } });
    expect(told).toEqual({ reads: 1, closes: 0 });
    expect(await bodyOf(response)).toEqual(content);
    expect(told).toEqual({ reads: 1, closes: 1 });
  });

  it('sends a GET of the whole or of one part elsewhere, and closes the answer', async () => {
    const { 'content-type': _, ...others } = headers;
    for (const of of [undefined, [{ from: 5, to: 9 }]]) {
      const { answer, told } = blob(of);
      const elsewhere = async () => 'https://elsewhere.example/?signed';
      expect(await respondBlob({ ...answer, elsewhere }, request(), options)).toEqual({
        status: 307,
        headers: {
          ...others,
          location: 'https://elsewhere.example/?signed',
          'cache-control': 'no-store, no-transform',
          'content-length': '0',
        },
        body: null,
      });
      expect(told).toEqual({ reads: 0, closes: 1 });
    }
  });

  it('sends nobody elsewhere with HEAD, what it has, several parts or none, or where there is no URL', async () => {
    const elsewhere = vi.fn(async () => undefined);
    const two = [
      { from: 5, to: 9 },
      { from: 20, to: 29 },
    ];
    const statusOf = async (of: ByteRange[] | undefined, asked = request()) => {
      const response = await respondBlob({ ...blob(of).answer, elsewhere }, asked, options);
      await bodyOf(response);
      return response.status;
    };
    expect(await statusOf(undefined, request({}, 'HEAD'))).toBe(200);
    expect(await statusOf(undefined, request({ 'if-none-match': headers.etag }))).toBe(304);
    expect(await statusOf(two)).toBe(206);
    expect(await statusOf([])).toBe(416);
    expect(elsewhere).not.toHaveBeenCalled();
    expect(await statusOf(undefined)).toBe(200);
    expect(elsewhere).toHaveBeenCalledOnce();
  });

  it('closes what the reader never takes once it returns', async () => {
    const { answer, told } = blob();
    const { body } = await respondBlob(answer, request(), options);
    await (body as Bytes)[Symbol.asyncIterator]().return?.();
    expect(told).toEqual({ reads: 1, closes: 1 });
  });

  it.each([
    ['the whole', undefined],
    ['a part', [{ from: 5, to: 9 }]],
    [
      'several parts',
      [
        { from: 5, to: 9 },
        { from: 20, to: 29 },
      ],
    ],
  ])(
    'fails before there is a status, and closes the answer, where the first byte of %s cannot be read',
    async (_, of) => {
      const { answer, told } = blob(of);
      const next = () => Promise.reject(new Error('bad sector'));
      const read = () => ({ [Symbol.asyncIterator]: () => ({ next }) });
      await expect(respondBlob({ ...answer, read }, request(), options)).rejects.toThrow('bad sector');
      expect(told.closes).toBe(1);
    },
  );

  it('gives no length that nobody knows', async () => {
    const { size: _, ...answer } = blob().answer;
    const response = await respondBlob(answer, request(), options);
    expect(response.headers).not.toHaveProperty('content-length');
    expect(await bodyOf(response)).toEqual(content);
    expect((await respondBlob(answer, request({}, 'HEAD'), options)).headers).not.toHaveProperty('content-length');
  });

  it('gives a whole that is at hand in one piece as one chunk, without reading it in parts', async () => {
    const { answer, told } = blob();
    const response = await respondBlob({ ...answer, piece: async () => content }, request(), options);
    expect(response).toMatchObject({ status: 200, headers: { ...headers, 'content-length': '2048' } });
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body as Bytes) chunks.push(chunk);
    expect(chunks).toEqual([content]);
    expect(told).toEqual({ reads: 0, closes: 1 });
  });

  it('reads the blob where there is no such piece, and where only a part is wanted', async () => {
    const { answer, told } = blob();
    const response = await respondBlob({ ...answer, piece: async () => undefined }, request(), options);
    expect(await bodyOf(response)).toEqual(content);
    const part = blob([{ from: 1, to: 2 }]);
    const wanted = { ...part.answer, piece: () => Promise.reject(new Error('all of it was read')) };
    expect(await bodyOf(await respondBlob(wanted, request(), options))).toEqual(content.subarray(1, 3));
    expect(told).toEqual({ reads: 1, closes: 1 });
  });

  it('closes the answer on HEAD and gives the headers of the whole', async () => {
    const { answer, told } = blob([{ from: 0, to: 1 }]);
    const response = await respondBlob(answer, request({}, 'HEAD'), options);
    expect(response).toEqual({ status: 200, headers: { ...headers, 'content-length': '2048' }, body: null });
    expect(told).toEqual({ reads: 0, closes: 1 });
  });

  it.each(['GET', 'HEAD'])('answers 304 to a %s of what the client has, and closes the answer', async (method) => {
    const { answer, told } = blob([{ from: 0, to: 1 }]);
    const response = await respondBlob(answer, request({ 'if-none-match': `"${answer.digest}"` }, method), options);
    expect(response).toMatchObject({ status: 304, body: null });
    expect(response.headers).not.toHaveProperty('content-length');
    expect(told).toEqual({ reads: 0, closes: 1 });
  });

  it('gives one part as 206', async () => {
    const { answer, told } = blob([{ from: 2000, to: 2047 }]);
    const response = await respondBlob(answer, request(), options);
    expect(response).toMatchObject({
      status: 206,
      headers: { ...headers, 'content-range': 'bytes 2000-2047/2048', 'content-length': '48' },
    });
    expect(await bodyOf(response)).toEqual(content.subarray(2000));
    expect(told).toEqual({ reads: 1, closes: 1 });
  });

  it('gives a part of a blob whose size nobody knows', async () => {
    const { size: _, ...answer } = blob([{ from: 5, to: 9 }]).answer;
    const response = await respondBlob(answer, request(), options);
    expect(response.headers).toMatchObject({ 'content-range': 'bytes 5-9/*', 'content-length': '5' });
  });

  it('answers 416 with the size, and closes the answer', async () => {
    const { answer, told } = blob([]);
    const response = await respondBlob(answer, request(), options);
    expect(response).toMatchObject({
      status: 416,
      headers: { 'content-range': 'bytes */2048', 'cache-control': 'no-store, no-transform' },
    });
    expect(JSON.parse((await bodyOf(response)).toString())).toMatchObject({ errors: [{ code: 'RANGE_INVALID' }] });
    expect(told).toEqual({ reads: 0, closes: 1 });
  });

  it('lets nobody keep bytes that were not verified', async () => {
    const unverified = { ...blob([{ from: 0, to: 1 }]).answer, cacheStatus: { hit: false, detail: 'unverified' } };
    const response = await respondBlob(unverified, request(), { ...options, publicContent: true });
    expect(response.headers['cache-control']).toBe('no-store, no-transform');
  });

  it('gives each part that was asked for, in order, in exactly the announced length', async () => {
    const position = fc.nat({ max: 2100 });
    const spec = fc.oneof(
      fc.tuple(position, position).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      position.map((from) => `${from}-`),
      position.map((last) => `-${last}`),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(spec, { minLength: 2, maxLength: 20 }), async (specs) => {
        const parts = satisfiableRanges(parseRange(`bytes=${specs.join(',')}`)!, content.byteLength);
        fc.pre(parts.length > 1);
        const { answer, told } = blob(parts);
        const response = await respondBlob(answer, request(), options);
        expect(response.status).toBe(206);
        expect(response.headers).not.toHaveProperty('content-range');
        const boundary = /^multipart\/byteranges; boundary=([0-9a-f]{64})$/.exec(
          `${response.headers['content-type']}`,
        )?.[1];
        const body = await bodyOf(response);
        expect(response.headers['content-length']).toBe(String(body.byteLength));
        expect(partsOf(body, boundary!)).toEqual(
          parts.map(({ from, to }) => ({
            range: `bytes ${from}-${to}/2048`,
            content: content.subarray(from, to + 1),
          })),
        );
        expect(told).toEqual({ reads: parts.length, closes: 1 });
      }),
      { numRuns: 60 },
    );
  });

  it('closes a multipart answer that is left in the middle of a part', async () => {
    const { answer, told } = blob([
      { from: 0, to: 1023 },
      { from: 1024, to: 2047 },
    ]);
    const { body } = await respondBlob(answer, request(), options);
    let chunks = 0;
    for await (const _ of body as Bytes) if (++chunks === 2) break;
    expect(told).toEqual({ reads: 1, closes: 1 });
  });

  it('fails a part that is shorter than announced', async () => {
    const { answer } = blob([
      { from: 0, to: 1023 },
      { from: 1024, to: 4000 },
    ]);
    await expect(bodyOf(await respondBlob(answer, request(), options))).rejects.toMatchObject({
      code: 'storage-failed',
    });
  });
});
