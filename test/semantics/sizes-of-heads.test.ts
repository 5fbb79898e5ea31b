import type { Personality } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { startPair } from './cache-under-test.ts';

/** An upstream whose answers to HEAD have a length of their own. */
async function startWithLength(length: string) {
  const alter: Personality['alter'] = (answer, { method }) =>
    method === 'HEAD' && answer.status === 200
      ? { ...answer, headers: { ...answer.headers, 'content-length': length } }
      : answer;
  const pair = await startPair({ fake: { personality: { alter } } });
  const { cache, upstream } = pair;
  const image = upstream.addImage('team/app', { tag: '1' });
  const lengthOf = async (path: string) => (await cache.head(`/v2/up/team/app/${path}`)).headers['content-length'];
  return { ...pair, ...image, lengthOf };
}

test('a HEAD that says 0 is not believed of a manifest', async () => {
  const { cache, lengthOf, root } = await startWithLength('0');
  expect(await lengthOf('manifests/1')).toBe(String(root.size));
  expect((await cache.get('/v2/up/team/app/manifests/1')).body.byteLength).toBe(root.size);
  expect(await lengthOf('manifests/1')).toBe(String(root.size));
  expect(await lengthOf(`manifests/${root.digest}`)).toBe(String(root.size));
  await cache.restart();
  expect(await lengthOf('manifests/1')).toBe(String(root.size));
});

test('a HEAD that says 0 is not believed of a blob, unless that is empty', async () => {
  const { upstream, lengthOf, layers } = await startWithLength('0');
  const empty = upstream.putBlob('team/app', '');
  expect(await lengthOf(`blobs/${layers[0]!.digest}`)).not.toBe('0');
  expect(await lengthOf(`blobs/${empty}`)).toBe('0');
});

test('a tag has the size of its manifest once that is here, whatever a HEAD told', async () => {
  const { cache, lengthOf, root } = await startWithLength('1234');
  expect(await lengthOf('manifests/1')).toBe('1234');
  await cache.get(`/v2/up/team/app/manifests/${root.digest}`);
  expect(await lengthOf('manifests/1')).toBe(String(root.size));
  await cache.restart();
  expect(await lengthOf('manifests/1')).toBe(String(root.size));
});
