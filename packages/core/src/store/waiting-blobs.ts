import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import type { StoredBlob } from './blob-store.ts';
import type { StoreEvent } from './events.ts';
import { removeFile, unlessMissing } from './file-system.ts';
import type { WaitingFile } from './waiting-folder.ts';

/** A verified file that the store does not have yet. */
export interface WaitingBlob extends WaitingFile {
  /** `clock.now()` when it came here. */
  storedAt: number;
  /** `clock.monotonic()` since when it waits; `undefined`: it is being stored for the first time, or looked at. */
  waitsSince: number | undefined;
  /** Whether its bytes are known to be right: what another process left is looked at first. */
  isRight: boolean;
  /** What stores it, while that runs. */
  upload: Promise<void> | undefined;
  isStored: boolean;
  /** Whether the store was asked to take it already. */
  wasTried: boolean;
  /** Whether it is none of these any more: stored, deleted, or another took its place. */
  hasLeft: boolean;
  /** Ends its upload. */
  stop: AbortController;
}

/** What waits for a store, by digest. */
export interface WaitingBlobs {
  /** One that is right is for everybody; one that is not yet known to be, for whoever looks at it. */
  get(digest: Digest): WaitingBlob | undefined;
  /** How many there are, of all kinds. */
  count(): number;
  /** Takes a file in, in the place of the one that is here, which is gone when the promise resolves. */
  keep(file: WaitingFile, isRight: boolean): Promise<WaitingBlob>;
  /** Bytes that wait. */
  bytes(): number;
  /** Whether so many bytes more may wait: what waits is bounded. */
  fits(size: number): boolean;
  /** Lets it wait from now on. @param why what the store said, if it did */
  wait(blob: WaitingBlob, why?: unknown): void;
  /** It waits for another turn. */
  queue(blob: WaitingBlob): void;
  /**
   * The one whose turn it is, which has no turn any more: one that the store was never asked to take, else the one that was
   * tried the longest ago. Some may be refused each time, and the others must not wait behind them.
   */
  next(): WaitingBlob | undefined;
  /** It is none any more; its file stays. */
  leave(blob: WaitingBlob): void;
  /** The same, and its upload and its file end. @returns whether it was not stored meanwhile */
  discard(blob: WaitingBlob): Promise<boolean>;
  /** Those that are right, in ascending order of the digest. */
  list(after: Digest | undefined): StoredBlob[];
  all(): WaitingBlob[];
}

/** What {@link createWaitingBlobs} works with. */
export interface WaitingBlobsParts {
  clock: Clock;
  observe(event: StoreEvent): void;
  /** Bytes that may still be written to the disk that they lie on. */
  room(): number;
  /** Bytes that may wait. Default: as many as there is room for beside them. */
  maxBytes?: number | undefined;
}

/** So many small ones are known at most, in some 40 MB of memory. */
const mostWaiting = 100_000;

export function createWaitingBlobs({ clock, observe, room, maxBytes }: WaitingBlobsParts): WaitingBlobs {
  const blobs = new Map<Digest, WaitingBlob>();
  const [untried, tried] = [new Set<WaitingBlob>(), new Set<WaitingBlob>()];
  let bytes = 0;
  let waiting = 0;

  function leave(blob: WaitingBlob): void {
    if (blob.hasLeft) return;
    blob.hasLeft = true;
    for (const line of [untried, tried]) line.delete(blob);
    if (blobs.get(blob.digest) === blob) blobs.delete(blob.digest);
    if (blob.waitsSince === undefined) return;
    bytes -= blob.size;
    waiting--;
  }

  function queue(blob: WaitingBlob): void {
    if (blob.hasLeft || blob.upload || blob.waitsSince === undefined) return;
    (blob.wasTried ? tried : untried).add(blob);
  }

  async function discard(blob: WaitingBlob): Promise<boolean> {
    leave(blob);
    blob.stop.abort(new Error(`${blob.digest} was deleted, or stored anew`));
    await blob.upload?.catch(() => undefined);
    if (blob.isStored) return false;
    await removeFile(blob.path).catch(unlessMissing);
    return true;
  }

  return {
    get: (digest) => blobs.get(digest),
    count: () => blobs.size,
    bytes: () => bytes,
    async keep(file, isRight) {
      const before = blobs.get(file.digest);
      const blob: WaitingBlob = {
        ...file,
        storedAt: clock.now(),
        waitsSince: undefined,
        isRight,
        upload: undefined,
        isStored: false,
        wasTried: false,
        hasLeft: false,
        stop: new AbortController(),
      };
      blobs.set(blob.digest, blob);
      // Its bytes may be wrong by now: they must not come into the store after the right ones.
      if (before) await discard(before).catch(() => undefined);
      return blob;
    },
    fits(size) {
      const free = room();
      return free >= 0 && bytes + size <= (maxBytes ?? free) && waiting < mostWaiting;
    },
    wait(blob, why) {
      if (blob.hasLeft || blob.waitsSince !== undefined) return;
      blob.waitsSince = clock.monotonic();
      bytes += blob.size;
      waiting++;
      queue(blob);
      const { digest, size } = blob;
      const error = why instanceof Error ? why.message : why === undefined ? undefined : String(why);
      observe({ type: 'upload-waiting', digest, size, ...(error !== undefined && { error }) });
    },
    queue,
    next() {
      const [blob] = untried.size > 0 ? untried : tried;
      if (blob) for (const line of [untried, tried]) line.delete(blob);
      return blob;
    },
    leave,
    discard,
    list(after) {
      return [...blobs.values()]
        .filter(({ digest, isRight }) => isRight && (after === undefined || digest > after))
        .map(({ digest, size, storedAt }) => ({ digest, size, storedAt }))
        .sort((one, other) => (one.digest < other.digest ? -1 : 1));
    },
    all: () => [...blobs.values()],
  };
}
