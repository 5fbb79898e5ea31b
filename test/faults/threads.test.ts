import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import type { ProxyCacheOptions } from '@proxycache/core';
import { type ChunkGate, chunkGate, seededBytes } from '@proxycache/test-kit';
import { request as undiciRequest } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { type CacheUnderTest, digestOfBody, startPair } from '../semantics/cache-under-test.ts';

const MiB = 1024 * 1024;
const gets = { method: 'GET', path: /\/blobs\// };
const fin = 'fin' as const;
/** However busy the machine is. */
const patiently = { interval: 5, timeout: 15_000 };

/** A cache that hashes in threads, and the threads that were started meanwhile. */
async function start(options: Partial<ProxyCacheOptions> = {}) {
  const workers: Worker[] = [];
  const note = (worker: Worker) => workers.push(worker);
  process.on('worker', note);
  onTestFinished(() => void process.off('worker', note));
  const pair = await startPair({ cache: { offload: 'hash', ...options } });
  return { ...pair, workers };
}

type Started = Awaited<ReturnType<typeof start>>;

function put({ upstream }: Started, seed: string, size: number): { bytes: Buffer; digest: string; path: string } {
  const bytes = Buffer.from(seededBytes(seed, size));
  const digest = upstream.putBlob('team/app', bytes);
  return { bytes, digest, path: `/v2/up/team/app/blobs/${digest}` };
}

async function expectPulled(cache: CacheUnderTest, { digest, path }: { digest: string; path: string }): Promise<void> {
  const got = await cache.get(path);
  expect([got.status, got.failure, digestOfBody(got.body)]).toEqual([200, undefined, digest]);
}

const warnings = (cache: CacheUnderTest) => cache.seen('warning').map(({ message }) => message);
const stored = (cache: CacheUnderTest) =>
  cache.seen('ingest-ended').filter(({ outcome }) => outcome === 'stored').length;

test.each([0, 1, MiB, MiB + 1, 9 * MiB + 5])('a blob of %i bytes comes through, and is stored', async (size) => {
  const started = await start();
  const blob = put(started, 'one', size);
  await expectPulled(started.cache, blob);
  await expect.poll(() => stored(started.cache), patiently).toBe(1);
  await started.upstream.stop();
  await expectPulled(started.cache, blob);
  expect(started.workers).toHaveLength(size > MiB ? 1 : 0);
  expect(warnings(started.cache)).toEqual([]);
});

test('many blobs at once come over no more threads than were asked for, each to many clients', async () => {
  const started = await start({ threads: 2 });
  const blobs = Array.from({ length: 12 }, (_, at) => put(started, `many ${at}`, 2 * MiB + at));
  await Promise.all([...blobs, ...blobs, ...blobs].map((blob) => expectPulled(started.cache, blob)));
  await expect.poll(() => stored(started.cache), patiently).toBe(12);
  expect(started.workers).toHaveLength(2);
});

test.each([0, 2 * MiB, 3 * MiB - 1])('18: never a wrong byte looks complete, nor is it stored: %i', async (at) => {
  const started = await start();
  const { cache, upstream } = started;
  const blob = put(started, 'wrong', 3 * MiB);
  upstream.on(gets, { corruptAt: at });
  const got = await cache.get(blob.path);
  expect(got.failure !== undefined || got.status === 502).toBe(true);
  expect(got.body.byteLength).toBeLessThan(3 * MiB - 60 * 1024);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome, patiently).toBe('failed');
  expect(readdirSync(join(cache.directory, 'blobs', 'sha256'))).toEqual([]);
  upstream.heal();
  await expectPulled(cache, blob);
  expect(warnings(cache)).toEqual([]);
});

test('18: who got no wrong byte gets the right ones of the second try', async () => {
  const started = await start();
  const blob = put(started, 'once', 3 * MiB);
  started.upstream.on({ ...gets, times: 1 }, { corruptAt: 3 * MiB - 1 });
  await expectPulled(started.cache, blob);
});

test('32: a transfer that is cut goes on, and is one complete answer', async () => {
  const started = await start();
  const blob = put(started, 'cut', 8 * MiB);
  started.upstream.on({ ...gets, times: 1 }, { cutAfter: 3 * MiB - 1, how: fin });
  await expectPulled(started.cache, blob);
  expect(started.cache.seen('ingest-resumed')).toHaveLength(1);
});

/** A client of a transfer that is held in its middle. */
async function heldInTheMiddle(
  started: Started,
  blob: { path: string },
): Promise<{ body: Promise<Buffer>; gate: ChunkGate }> {
  const gate = chunkGate(256 * 1024);
  started.upstream.on({ ...gets, times: 1 }, { throttle: gate });
  gate.allow(12);
  const { statusCode, body } = await undiciRequest(`${started.cache.url}${blob.path}`);
  expect(statusCode).toBe(200);
  let received = 0;
  const chunks: Buffer[] = [];
  const whole = (async () => {
    for await (const chunk of body) {
      received += chunk.length;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  })();
  await expect.poll(() => received, patiently).toBe(3 * MiB);
  return { body: whole, gate };
}

test('a thread that ends in the middle of a transfer costs no pull, and is told once', async () => {
  const started = await start();
  const { cache, workers } = started;
  const blob = put(started, 'ended', 8 * MiB);
  const { body, gate } = await heldInTheMiddle(started, blob);
  await workers[0]?.terminate();
  gate.open();
  expect((await body).equals(blob.bytes)).toBe(true);
  await expect.poll(() => stored(cache), patiently).toBe(1);
  expect(warnings(cache)).toEqual([expect.stringContaining("its work is done on the host's own thread")]);

  await expectPulled(cache, put(started, 'after', 3 * MiB));
  expect([workers.length, warnings(cache).length]).toEqual([1, 1]);
});

test('18: a wrong byte from before the thread ended is found', async () => {
  const started = await start();
  const { cache, upstream, workers } = started;
  const blob = put(started, 'ended wrong', 8 * MiB);
  upstream.on(gets, { corruptAt: 5 });
  const { body, gate } = await heldInTheMiddle(started, blob);
  const broken = expect(body).rejects.toThrow();
  await workers[0]?.terminate();
  gate.open();
  await broken;
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome, patiently).toBe('failed');
});

test('a closed cache leaves no thread', async () => {
  const started = await start();
  await expectPulled(started.cache, put(started, 'closed', 3 * MiB));
  const exited = new Promise((resolve) => started.workers[0]?.on('exit', resolve));
  await started.cache.restart();
  await exited;
  expect(warnings(started.cache)).toEqual([]);
});

test('chunks of cache.fetch are in memory of their own', async () => {
  const started = await start();
  const blob = put(started, 'fetched', 3 * MiB);
  const answer = await started.cache.cache.fetch(new Request(`http://cache${blob.path}`));
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body as ReadableStream<Uint8Array>) chunks.push(chunk);
  expect(chunks.every(({ buffer }) => buffer instanceof ArrayBuffer)).toBe(true);
  expect(digestOfBody(Buffer.concat(chunks))).toBe(blob.digest);
});

// The timer keeps nothing alive: it fires only where something else does.
const program = (atEnd: string, offload: 'hash' | 'ingest' = 'hash') => `
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createProxyCache, memoryStorage } from '@proxycache/core';
setTimeout(() => process.exit(1), 15_000).unref();
const blob = Buffer.alloc(3_000_000, 1);
const digest = 'sha256:' + createHash('sha256').update(blob).digest('hex');
const server = createServer((_, res) => res.end(blob)).on('connection', (socket) => socket.unref());
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = 'http://127.0.0.1:' + server.address().port;
const observer = ({ type, message }) => type === 'warning' && console.log(type, message);
const cache = createProxyCache({ upstreams: [{ key: 'up', url }], storage: memoryStorage(), offload: '${offload}', observer });
const answer = await cache.fetch(new Request('http://cache/v2/up/a/blobs/' + digest));
console.log(answer.status, (await answer.arrayBuffer()).byteLength);
server.unref();
${atEnd}
`;

async function run(text: string, ...flags: string[]): Promise<string> {
  const ran = promisify(execFile)(process.execPath, [...flags, '--input-type=module', '-e', text], {
    cwd: new URL('..', import.meta.url).pathname,
  });
  return (await ran).stdout;
}

test.each([
  ['hash', ''],
  ['hash', 'await cache.close();'],
  ['ingest', ''],
  ['ingest', 'await cache.close();'],
] as const)('a process ends by itself after a pull, its threads with it (%s, %s)', async (offload, atEnd) => {
  expect(await run(program(atEnd, offload))).toBe('200 3000000\n');
});

test('a process that may start no thread does it all by itself, and says why', async () => {
  const flags = ['--experimental-permission', '--allow-fs-read=*', '--allow-fs-write=*'];
  for (const offload of ['hash', 'ingest'] as const) {
    const [warning, answer] = (await run(program('', offload), ...flags)).split('\n');
    expect(warning).toMatch(/^warning a worker thread could not run, .*: Access to this API has been restricted/);
    expect(answer).toBe('200 3000000');
  }
});

test('what the host runs at its start is not run in a thread', async () => {
  const hook = `data:text/javascript,${encodeURIComponent("console.log('started')")}`;
  expect(await run(program(''), '--import', hook)).toBe('started\n200 3000000\n');
});
