import { createHash } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { seededBytes } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { startPair } from '../semantics/cache-under-test.ts';

const size = 64 * 1024 * 1024;
const gets = { method: 'GET', path: /\/blobs\// };

/** Asks, on a connection of its own. */
function ask(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject);
  });
}

/** The digest of what comes; nothing is kept. */
async function digestOfAnswer(url: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of await ask(url)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

test('50 clients of one cold blob of 64 MiB cause one upstream GET, and all get it', { timeout: 120_000 }, async () => {
  const { upstream, cache } = await startPair({ cache: { minFree: 0 } });
  const digest = upstream.putBlob('team/app', seededBytes('herd', size));
  const url = `${cache.url}/v2/up/team/app/blobs/${digest}`;
  const got = await Promise.all(Array.from({ length: 50 }, () => digestOfAnswer(url)));
  expect(new Set(got)).toEqual(new Set([digest]));
  expect(upstream.requests.map(({ method }) => method)).toEqual(['GET']);
  expect(upstream.requests[0]?.sentBytes).toBe(size);
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored', bytes: size }]);
});

test('one of them that stops reading stops nobody, and has all of it when it reads on', {
  timeout: 120_000,
}, async () => {
  const { upstream, cache } = await startPair({ cache: { minFree: 0 } });
  const digest = upstream.putBlob('team/app', seededBytes('slow', size));
  const url = `${cache.url}/v2/up/team/app/blobs/${digest}`;
  const slow = [await ask(url), await ask(url)];
  // They read a little, then nothing: what the sockets hold is far less than the blob.
  const [reader, leaver] = slow.map((answer) => answer[Symbol.asyncIterator]());
  const hash = createHash('sha256').update((await reader!.next()).value);
  await leaver!.next();
  const others = await Promise.all(Array.from({ length: 10 }, () => digestOfAnswer(url)));
  expect(new Set(others)).toEqual(new Set([digest]));
  await expect.poll(() => cache.seen('ingest-ended')).toMatchObject([{ outcome: 'stored' }]);
  expect(cache.seen('request').length).toBeGreaterThan(0);
  expect(slow.map(({ complete }) => complete)).toEqual([false, false]);

  await leaver!.return?.();
  for (let next = await reader!.next(); !next.done; next = await reader!.next()) hash.update(next.value);
  expect(`sha256:${hash.digest('hex')}`).toBe(digest);
  expect(upstream.count(gets)).toBe(1);
});
