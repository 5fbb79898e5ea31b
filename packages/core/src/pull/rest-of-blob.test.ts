import { manualClock, seededBytes } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { bytesOf } from '../runtime/bytes.ts';
import type { PassedPull } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';
import { restOfBlob } from './rest-of-blob.ts';

it('fails where the blob ends before what the client was given does', async () => {
  const bytes = seededBytes('rest', 10);
  const body = () => ({ kind: 'found', value: { start: 0, total: 10, body: bytesOf(bytes) } });
  const client = { fetchBlob: async () => body() };
  const { signal } = new AbortController();
  const request = {
    target: {
      upstream: { client, blobWithinMs: 1_000, resumeWithinMs: 1_000, coldRange: 'pass', maxBlobBytes: 100 },
      place: { upstream: 'up', repository: 'team/app', scope: '-', generation: '' },
    },
    digest: digestOf(bytes),
    signal,
  } as unknown as PassedPull;
  const manifests = { sizesOf: () => [] };
  const parts = { clock: manualClock(), observe: () => undefined, manifests } as unknown as PullParts;
  const rest = restOfBlob(
    parts,
    request,
    { position: 11, cause: new Error('gone') },
    { part: undefined, size: undefined },
  );
  await expect(rest.next()).rejects.toMatchObject({ code: 'digest-mismatch' });
});
