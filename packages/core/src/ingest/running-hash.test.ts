import { seededBytes } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { digestOf, finishDigest } from '../oci/digest.ts';
import { createRunningHash } from './running-hash.ts';

const MiB = 1024 * 1024;
const bytes = seededBytes('hashed', 8 * MiB);

it.each([
  [0, 0],
  [MiB - 1, 0],
  [MiB, MiB],
  [4 * MiB + 5, 4 * MiB],
  [99 * MiB, 8 * MiB],
])('goes back, of 8 MiB of which %i are settled, to byte %i', (settled, expected) => {
  const running = createRunningHash(digestOf(bytes));
  for (let at = 0; at < bytes.byteLength; at += 64 * 1024) running.update(bytes.subarray(at, at + 64 * 1024));
  running.settle(settled);
  const prefix = running.settled();
  expect(prefix.length).toBe(expected);
  expect(finishDigest(prefix.hash.copy(), 'sha256')).toBe(digestOf(bytes.subarray(0, expected)));
  expect(running.finish()).toBe(digestOf(bytes));
});
