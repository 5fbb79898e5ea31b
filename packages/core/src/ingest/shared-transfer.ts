import { unlink } from 'node:fs/promises';
import type { Clock } from '../runtime/clock.ts';
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

/** What decides who stores a blob. */
interface Storing extends Pick<SharedFetch, 'isDistrustful'> {
  /** The store has it, and cannot give it right. Default false. */
  storeFailed?: boolean | undefined;
  lease: TransferLease;
  clock: Clock;
  /** Resolves after a moment, or when some leader of this blob ended; whether one did. */
  news(signal: AbortSignal): Promise<boolean>;
}

/** A leader that has its lease for longer after that, and stored nothing, is not waited for. */
export const storedWithinMs: number = 10 * 60_000;

/**
 * The same store, that one process adopts into: the others look whether it has the blob by then, and adopt their own
 * copy where the one that leads ended without.
 */
export function sharedStore(
  blobs: BlobStore,
  { lease, isDistrustful, storeFailed = false, clock, news }: Storing,
): BlobStore {
  async function isStored({ digest, size, signal }: Parameters<BlobStore['adopt']>[0]): Promise<boolean> {
    // What is stored may be what was found wrong.
    if (storeFailed || isDistrustful()) return false;
    const stored = await blobs.open(digest, { forBytes: false, signal });
    await stored?.close();
    return stored?.size === size;
  }

  /**
   * Until this process may adopt it. A store that cannot say is no reason for it to drop its copy, where nobody else has
   * one to bring in.
   *
   * @returns whether it is stored already @throws what the store throws, where another process leads
   */
  async function isStoredByOther(blob: Parameters<BlobStore['adopt']>[0]): Promise<boolean> {
    const until = clock.monotonic() + storedWithinMs;
    const seemsStored = () =>
      isStored(blob).catch(() => {
        blob.signal.throwIfAborted();
        return false;
      });
    // A store may count what it is asked for: it is asked only when there may be something new.
    for (let isNew = true; clock.monotonic() < until; isNew = await news(blob.signal)) {
      const asked = isNew ? isStored(blob) : Promise.resolve(false);
      const stored = await asked.catch(() => undefined);
      if (stored) return true;
      // It may have been stored in between.
      if ((await lease.take(blob.signal)) !== 'held') return await seemsStored();
      if (stored === undefined) await asked;
    }
    return false;
  }

  return {
    ...blobs,
    async adopt(blob) {
      // Before it is told of: what is verified may be gone from the spool the next moment.
      if (lease.holds()) await lease.keep(blob.file);
      lease.tell({ phase: 'verified', total: blob.size });
      if (!lease.holds() && (await isStoredByOther(blob))) return await unlink(blob.file);
      await blobs.adopt(blob);
    },
  };
}
