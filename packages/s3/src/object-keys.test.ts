import { digestOf } from '@proxycache/core';
import { expect, test } from 'vitest';
import { objectKeys } from './object-keys.ts';

const keys = objectKeys('a/');
const samples = Array.from({ length: 50 }, (_, at) => digestOf(Buffer.from(`${at}`), at % 2 ? 'sha256' : 'sha512'));

test('keys are in the order of the digests, and lead back to them', () => {
  const byKey = [...samples].sort((one, other) => (keys.blob(one) < keys.blob(other) ? -1 : 1));
  expect(byKey).toEqual([...samples].sort());
  expect(byKey.map((digest) => keys.digest(keys.blob(digest)))).toEqual(byKey);
});

test('other objects are no blobs', () => {
  const [digest = 'sha256:'] = samples;
  for (const key of ['', 'a/blobs/', 'a/blobs/sha256/x', `${keys.blob(digest)}.1`, keys.quarantine(digest, 1)]) {
    expect(keys.digest(key)).toBeUndefined();
  }
  expect(objectKeys('b/').digest(keys.blob(digest))).toBeUndefined();
});

test.each(['sha256:../x', `sha256:${'A'.repeat(64)}`, '..:x'] as const)('%s is no digest', (digest) => {
  expect(() => keys.blob(digest)).toThrow(/expected sha256/);
  expect(() => keys.quarantine(digest, 1)).toThrow(/expected sha256/);
});
