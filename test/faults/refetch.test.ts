import { createHash } from 'node:crypto';
import { chunkGate, gate, seededBytes } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { digestOfBody, startPair } from '../semantics/cache-under-test.ts';
import { slowClient } from './slow-client.ts';

const MiB = 1024 * 1024;
// More than the sockets hold of a client that does not read.
const size = 24 * MiB;
const bytes = Buffer.from(seededBytes('refetch', size));
const gets = { method: 'GET', path: /\/blobs\// };

/**
 * A cache in front of an upstream that sends one wrong byte, `times` times. Its first answer stops before the end until
 * `first` is opened, its second one waits for `again`.
 */
async function startWrong(at: number, times: number) {
  const pair = await startPair({ cache: { minFree: 0 } });
  const digest = pair.upstream.putBlob('team/app', bytes);
  const path = `/v2/up/team/app/blobs/${digest}`;
  const [now, again] = [gate(), gate()];
  now.open();
  pair.upstream.on({ ...gets, times }, { corruptAt: at });
  const first = chunkGate(MiB);
  first.allow(size / MiB - 1);
  pair.upstream.on({ ...gets, times: 1 }, { throttle: first });
  pair.upstream.on({ ...gets, times: 1 }, { gate: now });
  pair.upstream.on({ ...gets, times: 1 }, { gate: again });
  const sentBytes = () => pair.upstream.requests.reduce((sum, request) => sum + request.sentBytes, 0);
  return { ...pair, digest, path, url: `${pair.cache.url}${path}`, first, again, sentBytes };
}

test('a wrong byte resets those who got it, and costs nobody else anything but the wait', async () => {
  const { upstream, cache, digest, path, url, first, again, sentBytes } = await startWrong(20 * MiB, 1);
  const behind = await Promise.all([slowClient(url), slowClient(url, 'bytes=0-'), slowClient(url, `bytes=${MiB}-`)]);
  const past = await slowClient(url);
  await past.readTo(20 * MiB + 1);
  first.open();
  await again.reached;
  expect(cache.seen('ingest-restarted')).toMatchObject([{ digest, error: expect.stringContaining('sent bytes of') }]);
  const joined = [cache.get(path), cache.get(path, { headers: { range: `bytes=${size - 10}-` } })];
  const reading = behind.map(({ rest }) => rest());
  const broken = expect(past.rest()).rejects.toMatchObject({ code: 'ECONNRESET' });
  again.open();
  await broken;
  // Its own retry joins what runs, or finds it stored.
  const retried = await cache.get(path);
  expect([retried.status, digestOfBody(retried.body)]).toEqual([200, digest]);

  expect(behind.map((answer) => answer.status)).toEqual([200, 206, 206]);
  const got = await Promise.all(reading);
  expect(got.map((all, i) => all.equals(i === 2 ? bytes.subarray(MiB) : bytes))).toEqual([true, true, true]);
  const [whole, end] = await Promise.all(joined);
  expect([whole!.status, digestOfBody(whole!.body)]).toEqual([200, digest]);
  expect([end!.status, end!.body.equals(bytes.subarray(-10))]).toEqual([206, true]);

  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored', bytes: size }]);
  expect(upstream.count(gets)).toBe(2);
  expect(sentBytes()).toBeLessThanOrEqual(2 * size);
});

test('a byte that is wrong twice is given to nobody as whole, and asked for no third time', async () => {
  const { upstream, cache, digest, path, url, first, again } = await startWrong(20 * MiB, 2);
  const all = [await slowClient(url), await slowClient(url)];
  first.open();
  await again.reached;
  const joined = cache.get(path);
  const broken = all.map(({ rest }) => expect(rest()).rejects.toMatchObject({ code: 'ECONNRESET' }));
  again.open();
  await Promise.all(broken);
  expect([(await joined).status, ((await joined).failure as { code?: string }).code]).toEqual([200, 'ECONNRESET']);
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'failed' }]);
  expect(upstream.count(gets)).toBe(2);

  const third = await cache.get(path);
  expect([third.status, digestOfBody(third.body)]).toEqual([200, digest]);
  await expect.poll(() => cache.seen('ingest-ended').at(-1)?.outcome).toBe('stored');
  expect(upstream.count(gets)).toBe(3);
});

test.each([
  ['its first byte', 0],
  ['a byte in the middle', size / 2],
])('one client whose blob comes with %s wrong has it right by its first retry', async (_, at) => {
  const { upstream, cache, digest, path, url, first, again, sentBytes } = await startWrong(at, 1);
  again.open();
  const client = await slowClient(url);
  await client.readTo(at + 1);
  first.open();
  await expect(client.rest()).rejects.toMatchObject({ code: 'ECONNRESET' });
  const retried = await cache.get(path);
  expect(retried.failure).toBeUndefined();
  expect(createHash('sha256').update(retried.body).digest('hex')).toBe(digest.slice('sha256:'.length));
  expect(upstream.count(gets)).toBe(2);
  expect(sentBytes()).toBeLessThanOrEqual(2 * size);
});

test('what was told of the size before does not make another one right', async () => {
  const { upstream, cache } = await startPair({ cache: { minFree: 0 } });
  const right = bytes.subarray(0, 3 * MiB);
  const digest = upstream.putBlob('team/app', right);
  const path = `/v2/up/team/app/blobs/${digest}`;
  const asked = gate();
  let tries = 0;
  upstream.serve(`/v2/team/app/blobs/${digest}`, () => {
    tries++;
    return { status: 200, headers: {}, body: tries === 1 ? bytes.subarray(0, 2 * MiB) : right };
  });
  upstream.on(gets, { gate: asked });
  const suffix = { headers: { range: 'bytes=-1' } };
  const all = [cache.get(path), cache.get(path, suffix)];
  await asked.reached;
  asked.open();
  for (const got of await Promise.all(all)) {
    const isRight =
      got.failure === undefined && got.status < 300 && right.subarray(-got.body.byteLength).equals(got.body);
    const isRefused = got.status === 502 || got.failure !== undefined;
    expect(isRight || isRefused).toBe(true);
  }
  expect((await cache.get(path, suffix)).body.equals(right.subarray(-1))).toBe(true);
});
