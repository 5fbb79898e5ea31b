import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const gets = { method: 'GET', path: /\/blobs\// };

/** The files that are stored or under way. */
function files(cache: CacheUnderTest): string[] {
  return ['blobs', 'spool', 'tmp'].flatMap((folder) =>
    readdirSync(join(cache.directory, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name),
  );
}

async function startWrong(size: number, seed: string) {
  const pair = await startPair();
  const bytes = Buffer.from(seededBytes(seed, size));
  const digest = pair.upstream.putBlob('team/app', bytes);
  return { ...pair, bytes, digest, path: `/v2/up/team/app/blobs/${digest}` };
}

const positions = (size: number) => [0, Math.floor(size / 2), size - 1];
const cases = [1, 40 * KiB, MiB, MiB + 1, 5 * MiB].flatMap((size) =>
  [...new Set(positions(size))].map((at) => [size, at] as const),
);

describe.each(cases)('a blob of %i bytes whose byte %i is wrong upstream', (size, at) => {
  test('is never received complete, nor stored; healed, the next request has it', async () => {
    const { upstream, cache, bytes, digest, path } = await startWrong(size, 'always');
    upstream.on(gets, { corruptAt: at });
    const headers = { range: `bytes=${Math.floor(size / 3)}-` };
    const all = await Promise.all([
      ...Array.from({ length: 5 }, () => cache.get(path)),
      cache.get(path, { headers }),
      cache.get(path, { headers: { range: 'bytes=-1' } }),
    ]);
    for (const got of all) {
      // Told by an error, or cut off before the end.
      const refused = got.status === 502 && got.errorCode === 'UNAVAILABLE';
      const cut = got.failure !== undefined && got.body.byteLength < Number(got.headers['content-length']);
      expect({ refused, cut }).toEqual({ refused: !cut, cut: !refused });
      if (size <= MiB) expect(refused).toBe(true);
    }
    await expect.poll(() => files(cache)).toEqual([]);

    upstream.heal();
    const healed = await cache.get(path);
    expect([healed.status, healed.failure, digestOfBody(healed.body)]).toEqual([200, undefined, digest]);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
    await upstream.stop();
    expect((await cache.get(path)).body.equals(bytes)).toBe(true);
  });

  test('once is wrong once: whoever did not get it does not even notice', async () => {
    const { upstream, cache, digest, path } = await startWrong(size, 'once');
    upstream.on({ ...gets, times: 1 }, { corruptAt: at });
    const first = await cache.get(path);
    const isHeldBack = size <= MiB || at >= size - 64 * KiB;
    if (isHeldBack) expect([first.status, digestOfBody(first.body)]).toEqual([200, digest]);
    else expect(first.failure).toBeDefined();
    const second = await cache.get(path);
    expect([second.status, second.failure, digestOfBody(second.body)]).toEqual([200, undefined, digest]);
    expect(upstream.count(gets)).toBe(2);
  });
});

test('a reset breaks what is cut off, not a clean end', async () => {
  const { upstream, cache, path } = await startWrong(5 * MiB, 'reset');
  upstream.on(gets, { corruptAt: 0 });
  const got = await cache.get(path);
  expect((got.failure?.cause as { code?: string } | undefined)?.code ?? (got.failure as { code?: string }).code).toBe(
    'ECONNRESET',
  );
});

describe.each([
  ['too short', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
  ['too long', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from('x')])],
  ['empty', () => Buffer.alloc(0)],
])('a blob that comes %s', (_, change) => {
  test.each([
    [1000, false],
    [1000, true],
    [5 * MiB, false],
    [5 * MiB, true],
  ])('is neither received whole nor stored (%i bytes, chunked: %s)', async (size, chunked) => {
    const { upstream, cache } = await startPair();
    const image = upstream.addImage('team/app', { tag: '1', layerSizes: [size] });
    await cache.get('/v2/up/team/app/manifests/1');
    const { digest } = image.layers[0]!;
    const body = change(Buffer.from(upstream.blob('team/app', digest)!));
    upstream.serve(`/v2/team/app/blobs/${digest}`, () => ({ status: 200, headers: {}, body, chunked }));
    const got = await cache.get(`/v2/up/team/app/blobs/${digest}`);
    if (got.status === 200) expect(got.failure).toBeDefined();
    else expect(got.status).toBe(502);
    await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('failed');
    expect(files(cache)).not.toContain(digest.slice('sha256:'.length));
  });
});

describe.each(['fin', 'rst'] as const)('a transfer that is cut (%s)', (how) => {
  test.each([0, 1, 100 * KiB, 5 * MiB - 1])('after %i bytes is received whole all the same', async (cutAfter) => {
    const { upstream, cache, digest, path } = await startWrong(5 * MiB, 'cut');
    upstream.on({ ...gets, times: 1 }, { cutAfter, how });
    const all = await Promise.all([cache.get(path), cache.get(path)]);
    for (const got of all) {
      // A reset may overtake the headers.
      if (how === 'rst' && got.status === 502) continue;
      expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
    }
    const next = await cache.get(path);
    expect([next.status, next.failure, digestOfBody(next.body)]).toEqual([200, undefined, digest]);
  });
});

test('a manifest whose bytes are wrong upstream is never given; healed, the next request has it', async () => {
  const { upstream, cache } = await startPair();
  const image = upstream.addImage('team/app', { tag: '1' });
  const paths = ['/v2/up/team/app/manifests/1', `/v2/up/team/app/manifests/${image.root.digest}`];
  upstream.on({ method: 'GET', path: /\/manifests\// }, { corruptAt: 10 });
  for (const path of paths) expect((await cache.get(path)).status).toBe(502);
  expect(files(cache)).toEqual([]);
  upstream.heal();
  for (const path of paths) expect(digestOfBody((await cache.get(path)).body)).toBe(image.root.digest);
});
