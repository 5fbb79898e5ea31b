import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Coordinator } from '../store/coordinator.ts';
import type { IngestEvent } from './events.ts';
import type { IngestRequest } from './ingest.ts';
import type { Leader, LeaderSource } from './leader.ts';
import { createNews } from './news.ts';
import { sharedFetch } from './shared-fetch.ts';
import { type SharedTransfer, sharedSpool, sharedStore, storedWithinMs } from './shared-transfer.ts';
import type { Spool } from './spool.ts';
import { createTransferLease, type TransferLease } from './transfer-lease.ts';

/** What processes that share a storage bring in once for all of them. */
export interface SharedTransfers {
  /**
   * One transfer's part in it; `undefined`: it goes alone, as nobody can tell whom its bytes may be given to.
   *
   * @param own.isWaiting whether a blob that was adopted still waits for the store. Default: none does
   * @param own.claim called when a client of another process waits for what nobody had asked for yet
   */
  begin(
    request: IngestRequest,
    own: { spool: Spool; blobs: BlobStore; isWaiting?: (digest: Digest) => boolean; claim(): void },
  ): SharedTransfer | undefined;
  /** Resolves when what has ended was told to the others. */
  close(): Promise<void>;
}

/** What shared transfers work with. */
export interface SharedTransfersParts {
  coordinator: Coordinator;
  /** Tried one after the other. */
  sources: readonly LeaderSource[];
  /** This process, as others are told of it. */
  self: Pick<Leader, 'owner' | 'peerUrl'>;
  /** The spool folder. */
  directory: string;
  slabs: Slabs;
  clock: Clock;
  observe(event: IngestEvent): void;
}

/** Half of the time that a transfer has itself: in the other half the upstream is asked for what a leader does not bring. */
const patienceOf = (ms: number) => ms / 2;

/** Between two bytes a leader may be replaced, and ask anew. */
const leastPatienceMs = 5_000;

/** How often it is looked whether the store has taken what waits for it. */
const lookMs = 1_000;

/** The lease of a blob's transfer. */
export const transferKey = ({ upstream, digest }: { upstream: string; digest: Digest }): string =>
  `ingest/${upstream}/${digest}`;

/** Makes the transfers of this process known to others, and those of others to this one. */
export function createSharedTransfers(parts: SharedTransfersParts): SharedTransfers {
  const { coordinator, self, directory, clock } = parts;
  const ended = createNews({ coordinator, clock, channel: 'ingest-ended' });
  const followed = createNews({ coordinator, clock, channel: 'ingest-followed' });
  const wanted = createNews({ coordinator, clock, channel: 'ingest-wanted' });
  const ending = new Set<Promise<void>>();
  const closing = new AbortController();

  /** Resolves when nobody has to be kept from storing a blob again, which this process is about to. Never rejects. */
  async function stored(digest: Digest, isWaiting: (digest: Digest) => boolean, lease: TransferLease): Promise<void> {
    const until = clock.monotonic() + storedWithinMs;
    if (isWaiting(digest)) lease.tell({ phase: 'queued' });
    while (isWaiting(digest) && lease.holds() && clock.monotonic() < until && !closing.signal.aborted) {
      await pause(lookMs, clock, closing.signal).catch(() => undefined);
    }
  }

  return {
    begin(request, { spool, blobs, isWaiting = () => false, claim }) {
      const { permission, spare, storeFailed, firstByteWithinMs, resumeWithinMs } = request;
      if (!permission) return undefined;
      const key = transferKey(request);
      let isSpare = spare !== undefined;
      let leaderFollowed: Leader | undefined;
      const news = (signal: AbortSignal) => ended.wait(key, signal);
      const leader = (): Leader => ({ ...self, place: permission.place, ...(isSpare && { spare: true }) });
      const lease = createTransferLease(
        { key, directory, leader, released: () => ended.tell(key) },
        { coordinator, clock },
      );
      const askWanted = () => {
        if (leaderFollowed?.spare && !isSpare) wanted.tell(key);
      };
      const stops = [followed.listen(key, lease.followed), ...(spare ? [wanted.listen(key, claim)] : [])];
      const shared = sharedFetch(
        {
          ...request,
          permission,
          patience: {
            firstByteMs: patienceOf(firstByteWithinMs),
            goOnMs: Math.max(patienceOf(resumeWithinMs), leastPatienceMs),
          },
          lease,
          holder: () => coordinator.holder(key),
          news,
          follows(one) {
            leaderFollowed = one;
            followed.tell(key);
            askWanted();
          },
        },
        { ...parts, blobs },
      );
      return {
        fetch: shared.fetch,
        spool: sharedSpool(spool, lease, shared),
        blobs: sharedStore(blobs, { ...shared, lease, storeFailed, clock, news }),
        leads: lease.holds,
        claimed() {
          if (!isSpare) return;
          isSpare = false;
          askWanted();
        },
        async end() {
          for (const stop of stops) stop();
          const end = stored(request.digest, isWaiting, lease).then(lease.end);
          ending.add(end);
          await end;
          ending.delete(end);
        },
      };
    },
    async close() {
      closing.abort();
      await Promise.all(ending);
      await Promise.all([ended, followed, wanted].map((news) => news.close()));
    },
  };
}
