import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { manualClock } from '@proxycache/test-kit';
import { expect, test } from 'vitest';
import { type Digest, digestOf } from '../oci/digest.ts';
import { mediaTypes } from '../oci/media-type.ts';
import { createSlots } from '../runtime/slots.ts';
import { createKeepImage } from './keep-image.ts';
import type { Pulls } from './noted-pulls.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const descriptorOf = (mediaType: string, bytes: Buffer) => ({
  mediaType,
  digest: digestOf(bytes, 'sha256'),
  size: bytes.byteLength,
});

test('the manifests of an image are not held while what they name comes in: an index may name thousands', async () => {
  const images = new Map<Digest, Buffer>();
  for (let i = 0; i < 20; i++) {
    const config = descriptorOf('application/vnd.oci.image.config.v1+json', Buffer.from(`config ${i}`));
    const bytes = json({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] });
    images.set(digestOf(bytes, 'sha256'), bytes);
  }
  const manifests = [...images.values()].map((bytes) => descriptorOf(mediaTypes.ociManifest, bytes));
  const index = json({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
  const given: WeakRef<Uint8Array>[] = [];
  const answer = (mediaType: string, content: Buffer) => {
    const bytes = Uint8Array.from(content);
    given.push(new WeakRef(bytes));
    return { descriptor: descriptorOf(mediaType, content), bytes, byTag: false, cacheStatus: { hit: true } };
  };
  // Whoever waits is reached from here, as from a store.
  const waiting: (() => void)[] = [];
  const parts = {
    clock: manualClock(),
    blobs: {
      open: () => new Promise((_resolve, reject) => waiting.push(() => reject(new Error('no store')))),
    },
  } as unknown as PullParts;
  const pulls = {
    pullDigest: async ({ digest }: { digest: Digest }) =>
      images.has(digest)
        ? answer(mediaTypes.ociManifest, images.get(digest) as Buffer)
        : answer(mediaTypes.ociIndex, index),
  } as unknown as Pulls;
  const target = { place: { upstream: 'up', scope: '-', repository: 'app' } } as unknown as Target;
  const begins = () => ({ follows: () => undefined, ends: () => undefined });
  const signal = new AbortController().signal;
  const reference = { kind: 'digest', digest: digestOf(index, 'sha256') } as const;
  const keeping = createKeepImage(parts, pulls)(
    { target, reference },
    { slots: createSlots(50), signal, blobs: new Map(), begins },
  );
  await expect.poll(() => waiting.length).toBe(images.size);
  expect(given).toHaveLength(images.size + 1);
  await expect
    .poll(() => {
      collectGarbage();
      return given.filter((bytes) => bytes.deref() !== undefined).length;
    })
    .toBe(0);
  for (const fail of waiting) fail();
  expect((await keeping).failures).toHaveLength(images.size);
});
