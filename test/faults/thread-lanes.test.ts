import type { Worker } from 'node:worker_threads';
import { seededBytes, selfSigned, startFakeCdn } from '@proxycache/test-kit';
import { request as undiciRequest } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { patient } from '../semantics/patient.ts';

const MiB = 1024 * 1024;
/** A thread starts when it is needed, and others may want the machine. */
const patiently = { timeout: 15_000 };
const gets = { method: 'GET', path: /\/blobs\// };

/** A cache that receives blobs in threads, and the threads that were started meanwhile. */
async function start(options: Parameters<typeof startPair>[0] = {}) {
  const workers: Worker[] = [];
  const note = (worker: Worker) => workers.push(worker);
  process.on('worker', note);
  onTestFinished(() => void process.off('worker', note));
  const pair = await startPair({ ...patient, ...options, cache: { offload: 'ingest', ...options.cache } });
  return { ...pair, workers };
}

type Started = Awaited<ReturnType<typeof start>>;

interface Blob {
  bytes: Buffer;
  digest: string;
  path: string;
}

function put({ upstream }: Pick<Started, 'upstream'>, seed: string, size: number): Blob {
  const bytes = Buffer.from(seededBytes(seed, size));
  const digest = upstream.putBlob('team/app', bytes);
  return { bytes, digest, path: `/v2/up/team/app/blobs/${digest}` };
}

async function expectPulled(cache: CacheUnderTest, { digest, path }: Blob): Promise<void> {
  const got = await cache.get(path);
  expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
}

const warnings = (cache: CacheUnderTest) => cache.seen('warning').map(({ message }) => message);
const ranges = ({ upstream }: Started) =>
  upstream.requests.filter(({ path }) => path.includes('/blobs/')).map(({ headers }) => headers.range);

/** Asks for all but the last byte of a blob that is not stored: it comes at its reader's pace, and is kept nowhere. */
async function passThrough({ cache }: Started, { path, bytes }: Blob) {
  const range = `bytes=0-${bytes.byteLength - 2}`;
  const { statusCode, body } = await undiciRequest(`${cache.url}${path}`, { headers: { range } });
  expect(statusCode).toBe(206);
  return body;
}

describe('blobs that a thread receives', () => {
  test.each([0, 1, 64 * 1024 + 1, MiB, 9 * MiB + 5])('come through, and are stored: %i bytes', async (size) => {
    const started = await start();
    const blob = put(started, 'one', size);
    await expectPulled(started.cache, blob);
    await expect.poll(() => started.cache.seen('ingest-ended').at(-1)?.outcome, patiently).toBe('stored');
    await started.upstream.stop();
    await expectPulled(started.cache, blob);
    expect(started.workers).toHaveLength(1);
    expect(warnings(started.cache)).toEqual([]);
  });

  test('come over few connections, which serve one after the other', async () => {
    const started = await start({ limits: { maxConnections: 4 }, cache: { threads: 2 } });
    const blobs = Array.from({ length: 12 }, (_, at) => put(started, `many ${at}`, 2 * MiB + at));
    await Promise.all([...blobs, ...blobs].map((blob) => expectPulled(started.cache, blob)));
    expect(started.upstream.connections().accepted).toBeLessThanOrEqual(3);
    expect(started.upstream.count(gets)).toBe(12);
    expect(started.workers).toHaveLength(2);
  });

  test('come with little memory, too', async () => {
    const started = await start({ cache: { memory: { buffers: MiB } } });
    const blobs = Array.from({ length: 6 }, (_, at) => put(started, `little ${at}`, 3 * MiB + at));
    await Promise.all(blobs.map((blob) => expectPulled(started.cache, blob)));
  });

  test('come over TLS, by an authority and a client certificate of the upstream’s own', async () => {
    const { ca, server, client } = await selfSigned();
    const started = await start({ fake: { tls: { ...server, clientCa: ca } }, tls: { ca, ...client } });
    await expectPulled(started.cache, put(started, 'tls', 5 * MiB));
    expect(started.workers).toHaveLength(1);
  });

  test('fail over TLS as they do elsewhere: the certificate is nobody’s', async () => {
    const { server } = await selfSigned();
    const ended = await Promise.all(
      (['off', 'ingest'] as const).map(async (offload) => {
        const started = await start({ fake: { tls: server }, cache: { offload } });
        const got = await started.cache.get(put(started, 'tls', 100).path);
        return [got.status, got.body.toString()];
      }),
    );
    expect(ended[0]?.[0]).toBe(502);
    expect(ended[1]).toEqual(ended[0]);
  });

  test('come from where the upstream redirects to, without its credential', async () => {
    const cdn = await startFakeCdn({ address: '127.0.0.2' });
    onTestFinished(() => cdn.stop());
    const started = await start({ fake: { redirectBlobsTo: cdn } });
    for (const seed of ['first', 'second']) await expectPulled(started.cache, put(started, seed, 2 * MiB));
    expect(cdn.count({ method: 'GET' })).toBe(2);
    expect(cdn.connections().accepted).toBe(1);
  });

  test('come in chunks, of no known length', async () => {
    const started = await start({ fake: { personality: 'no-content-length' } });
    await expectPulled(started.cache, put(started, 'chunked', 5 * MiB));
  });

  test('32: go on where they were cut', async () => {
    const started = await start();
    started.upstream.on({ ...gets, times: 1 }, { cutAfter: 3 * MiB - 1, how: 'fin' });
    await expectPulled(started.cache, put(started, 'cut', 8 * MiB));
    expect(started.cache.seen('ingest-resumed')).toHaveLength(1);
    expect(started.upstream.sentBytes(gets)).toBeLessThanOrEqual(1.05 * 8 * MiB);
    expect(warnings(started.cache)).toEqual([]);
  });

  test('18: are never wrong and complete', async () => {
    const started = await start();
    const { cache, upstream } = started;
    const blob = put(started, 'wrong', 3 * MiB);
    upstream.on(gets, { corruptAt: 3 * MiB - 1 });
    const got = await cache.get(blob.path);
    expect(got.failure !== undefined || got.status === 502).toBe(true);
    upstream.heal();
    await expectPulled(cache, blob);
  });

  test('go on where the upstream sent nothing more, after timeouts.idle of the cache’s clock', async () => {
    const started = await start({ timeouts: { ...patient.timeouts, idle: '30s' } });
    const { cache, upstream } = started;
    const blob = put(started, 'stalled', 4 * MiB);
    upstream.on({ ...gets, times: 1 }, { stallAfter: MiB });
    const { body } = await undiciRequest(`${cache.url}${blob.path}`);
    const iterator = body[Symbol.asyncIterator]();
    const chunks: Buffer[] = [];
    for (let length = 0; length < MiB; length += chunks.at(-1)?.length ?? 0) chunks.push((await iterator.next()).value);
    const rest = (async () => {
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) chunks.push(next.value);
    })();
    await cache.clock.advance(30_000);
    await rest;
    expect(digestOfBody(Buffer.concat(chunks))).toBe(blob.digest);
    await expect
      .poll(() => upstream.requests.find((logged) => gets.path.test(logged.path))?.aborted, patiently)
      .toBe(true);
  });

  test('are held back at the upstream while their reader is slow, and come whole then', async () => {
    const started = await start();
    const blob = put(started, 'held back', 96 * MiB);
    const body = await passThrough(started, blob);
    let before = -1;
    // Until all buffers on the way are full and nothing moves any more.
    await expect
      .poll(
        () => {
          const sent = started.upstream.sentBytes(gets);
          const settled = sent === before && sent > 0;
          before = sent;
          return settled;
        },
        { ...patiently, interval: 200 },
      )
      .toBe(true);
    expect(before).toBeLessThan(64 * MiB);
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(chunk);
    expect(digestOfBody(Buffer.concat([...chunks, blob.bytes.subarray(-1)]))).toBe(blob.digest);
  });

  test('are given up at the upstream when their reader leaves', async () => {
    const started = await start();
    const body = await passThrough(started, put(started, 'left', 96 * MiB));
    await body[Symbol.asyncIterator]().next();
    body.destroy();
    await expect.poll(() => started.upstream.connections().open, patiently).toBe(0);
    await expectPulled(started.cache, put(started, 'after', MiB));
  });
});

describe('a thread that ends', () => {
  test('in the middle of a transfer costs no pull: it goes on here, where it was', async () => {
    const started = await start();
    const { cache, upstream, workers } = started;
    const blob = put(started, 'ended', 8 * MiB);
    upstream.on({ ...gets, times: 1 }, { stallAfter: 3 * MiB });
    const { body } = await undiciRequest(`${cache.url}${blob.path}`);
    const chunks: Buffer[] = [];
    let received = 0;
    const whole = (async () => {
      for await (const chunk of body) {
        received += chunk.length;
        chunks.push(chunk);
      }
    })();
    await expect.poll(() => received, patiently).toBe(3 * MiB);
    await workers[0]?.terminate();
    await whole;
    expect(digestOfBody(Buffer.concat(chunks))).toBe(blob.digest);
    expect(ranges(started)).toEqual([undefined, `bytes=${3 * MiB}-`]);
    expect(warnings(cache)).toEqual([expect.stringContaining("its work is done on the host's own thread")]);

    await expectPulled(cache, put(started, 'after', 3 * MiB));
    expect([workers.length, warnings(cache).length]).toEqual([1, 1]);
  });

  test('between two transfers costs no pull, nor a try', async () => {
    const started = await start();
    const { cache, upstream, workers } = started;
    await Promise.all(['a', 'b', 'c'].map((seed) => expectPulled(cache, put(started, seed, MiB))));
    const ended = new Promise((resolve) => workers[0]?.once('exit', resolve));
    await workers[0]?.terminate();
    await ended;
    upstream.clear();
    await Promise.all(['d', 'e', 'f'].map((seed) => expectPulled(cache, put(started, seed, MiB))));
    expect(upstream.count(gets)).toBe(3);
  });
});

test('a closed cache leaves no thread and no connection', async () => {
  const started = await start();
  await expectPulled(started.cache, put(started, 'closed', 3 * MiB));
  const exited = new Promise((resolve) => started.workers[0]?.on('exit', resolve));
  await started.cache.restart();
  await exited;
  await expect.poll(() => started.upstream.connections().open, patiently).toBe(0);
  expect(warnings(started.cache)).toEqual([]);
});

test('no thread is begun for what is no blob, unless blobs are to follow in one', async () => {
  for (const [offload, most] of [
    ['hash', 0],
    ['ingest', 1],
  ] as const) {
    const started = await start({ cache: { offload } });
    started.upstream.addImage('team/app', { tag: '1' });
    expect((await started.cache.get('/v2/up/team/app/manifests/1')).status).toBe(200);
    expect(started.workers).toHaveLength(most);
  }
});
