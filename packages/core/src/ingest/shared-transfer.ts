import { unlink } from 'node:fs/promises';
import type { BlobStore } from '../store/blob-store.ts';
import type { SharedFetch } from './shared-fetch.ts';
import type { Spool } from './spool.ts';
import type { FetchFrom } from './steady-body.ts';
import type { TransferLease } from './transfer-lease.ts';

/** A transfer that one process makes for all: what it works with, in the place of what it would alone. */
export interface SharedTransfer {
  fetch: FetchFrom;
  spool: Spool;
  blobs: BlobStore;
  /** Whether this process asks the upstream for all. */
  leads(): boolean;
  /** A client asked for it, where nobody had before. */
  claimed(): void;
  /** The others may lead now. Never rejects. */
  end(): Promise<void>;
}

/** Tells the lease which file is filled; a second one is there because what came in the first was wrong. */
export function sharedSpool(spool: Spool, lease: TransferLease, { distrust }: SharedFetch): Spool {
  let made = 0;
  return {
    ...spool,
    async create(signal) {
      const file = await spool.create(signal);
      if (made++ > 0) distrust();
      lease.fills(file);
      return file;
    },
  };
}

/**
 * The same store, that one process adopts into: the others look whether it has the blob by then, and adopt their own
 * copy where the one that leads ended without.
 */
export function sharedStore(
  blobs: BlobStore,
  lease: TransferLease,
  { news, isDistrustful }: { news(signal: AbortSignal): Promise<void> } & Pick<SharedFetch, 'isDistrustful'>,
): BlobStore {
  async function isStored({ digest, size, signal }: Parameters<BlobStore['adopt']>[0]): Promise<boolean> {
    // What is stored may be what was found wrong.
    if (isDistrustful()) return false;
    const stored = await blobs.open(digest, { signal });
    await stored?.close();
    return stored?.size === size;
  }

  return {
    ...blobs,
    async adopt(blob) {
      const { file, size, signal } = blob;
      lease.tell({ phase: 'verified', total: size });
      const led = lease.holds();
      while (!led) {
        if (await isStored(blob)) return await unlink(file);
        const taking = await lease.take(signal);
        // It may have been stored in between.
        if (taking === 'taken' && (await isStored(blob))) return await unlink(file);
        if (taking !== 'held') break;
        await news(signal);
      }
      await blobs.adopt(blob);
    },
  };
}
