import type { Clock } from '../runtime/clock.ts';
import type { Storage } from './storage.ts';
import { createStoreDeadline } from './store-deadline.ts';
import { timelyBlobs } from './timely-blobs.ts';
import { timelyMetadata } from './timely-metadata.ts';

/** Long for a store that answers at all, short for whoever waits for a pull. */
const withinMs = 3_000;

/**
 * The stores of a storage as pulls use them: a call that takes too long fails, so that a store that hangs costs a pull no
 * more than one that throws.
 */
export function timelyStorage({ blobs, metadata }: Storage, clock: Clock): Pick<Storage, 'blobs' | 'metadata'> {
  return {
    blobs: timelyBlobs(blobs, createStoreDeadline(clock, withinMs)),
    metadata: timelyMetadata(metadata, createStoreDeadline(clock, withinMs)),
  };
}
