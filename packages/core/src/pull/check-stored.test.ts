import { manualClock, seededBytes } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import { createCheckStored, type OpenStored } from './check-stored.ts';
import { createChecks } from './checks.ts';
import type { PullParts } from './pull-parts.ts';

type OpenedBlob = NonNullable<Awaited<ReturnType<OpenStored>>>;

const bytes = seededBytes('checked', 1000);
const digest = digestOf(bytes);

it('looked for ever at an opening that was shared and older than the verdict', async () => {
  let openings = 1;
  let asked = 0;
  const blobOf = (opening: number): OpenedBlob => ({
    digest,
    openedAt: 0,
    opening,
    blob: {
      kind: 'file',
      size: bytes.byteLength,
      close: async () => undefined,
      async read(into, at) {
        const part = bytes.subarray(at, at + into.byteLength);
        into.set(part);
        return part.byteLength;
      },
    },
  });
  const open: OpenStored = async (_digest, _signal, { anew = false } = {}) => {
    asked++;
    if (asked > 10) throw new Error('it looked again and again');
    if (!anew) return blobOf(1);
    openings++;
    return blobOf(openings);
  };
  const parts = {
    checks: createChecks(),
    buffers: createBuffers(1_000_000),
    clock: manualClock(),
    verifyOnRead: 'first',
    observe: () => undefined,
  } as unknown as PullParts;
  const check = createCheckStored(parts, open);
  const { signal } = new AbortController();
  expect((await check(blobOf(1), { forBytes: true }, signal))?.opening).toBeGreaterThan(1);
});
