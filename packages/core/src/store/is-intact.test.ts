import { expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { OpenBlob } from './blob-store.ts';
import { isIntact } from './is-intact.ts';

const { signal } = new AbortController();
const buffers = createBuffers(0);
const bytes = Buffer.alloc(1000, 'content');
const digest = digestOf(bytes);

function opened(size: number, ...chunks: Uint8Array[]): OpenBlob {
  const body = (async function* () {
    yield* chunks;
  })();
  return { kind: 'stream', size, body, close: async () => undefined };
}

it('tells right from wrong', async () => {
  expect(await isIntact(opened(1000, bytes), digest, { buffers, signal })).toBe(true);
  expect(await isIntact(opened(1000, Buffer.alloc(1000)), digest, { buffers, signal })).toBe(false);
});

it.each([999, 1001])('judges nothing of which another number of bytes came than its size, %i', async (size) => {
  await expect(isIntact(opened(size, bytes), digest, { buffers, signal })).rejects.toThrow(`expected ${size}`);
});

it('gives each piece a turn of the event loop to itself, however many blobs are looked at', async () => {
  let turns = 0;
  let done = false;
  const count = () => {
    turns++;
    if (!done) setImmediate(count);
  };
  count();
  const many = Array.from({ length: 64 }, () =>
    isIntact(opened(4 * bytes.byteLength, bytes, bytes, bytes, bytes), digest, { buffers, signal }),
  );
  await Promise.all(many);
  done = true;
  expect(turns).toBeGreaterThanOrEqual(4 * 64);
});
