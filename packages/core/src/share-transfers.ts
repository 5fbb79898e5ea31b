import type { IngestEvent } from './ingest/events.ts';
import { parseLeader, type WantedOfLeader } from './ingest/leader.ts';
import { peerSource } from './ingest/peer-source.ts';
import { createSharedTransfers, type SharedTransfers, transferKey } from './ingest/shared-transfers.ts';
import { spoolSource } from './ingest/spool-source.ts';
import type { PeersOptions } from './options.ts';
import { type Bytes, discard } from './runtime/bytes.ts';
import type { Clock } from './runtime/clock.ts';
import { ownerName, thisOwner } from './runtime/process-owner.ts';
import type { Slabs } from './runtime/slabs.ts';
import type { Coordinator } from './store/coordinator.ts';
import type { FetchedBlob } from './upstream/upstream.ts';
import { isUpstreamError } from './upstream/upstream-error.ts';

/** Transfers of this process and of others. */
export interface HostTransfers extends SharedTransfers {
  /** Reads what another process of this host is bringing in, for those of other hosts that asked here. */
  ofThisHost(wanted: WantedOfLeader): Promise<FetchedBlob | undefined>;
}

/** The transfers that the processes with this coordinator make for one another; `undefined`: there is none. */
export function shareTransfers(
  coordinator: Coordinator | undefined,
  parts: {
    directory: string;
    slabs: Slabs;
    clock: Clock;
    /** Default: no other host is read from. */
    peers: PeersOptions | undefined;
    observe(event: IngestEvent): void;
  },
): HostTransfers | undefined {
  if (!coordinator) return undefined;
  const { peers, slabs } = parts;
  const source = peers && peerSource({ ...parts, ...peers });
  const spool = spoolSource(parts);
  const shared = createSharedTransfers({
    ...parts,
    coordinator,
    // Of one's own host the disk is nearer.
    sources: [spool, ...(source ? [source] : [])],
    self: { owner: ownerName(thisOwner()), ...(peers && { peerUrl: peers.url }) },
  });
  return {
    ...shared,
    async ofThisHost(wanted) {
      const holder = await coordinator.holder(transferKey(wanted)).catch(() => undefined);
      const leader = holder === undefined ? undefined : parseLeader(holder);
      // Processes that share a port share an address: whichever is asked answers for the others.
      if (leader?.peerUrl === undefined || leader.peerUrl !== peers?.url) return undefined;
      const blob = await spool.open(leader, wanted).catch((error) => {
        wanted.signal.throwIfAborted();
        // What has just ended has moved its file: it is stored by now, or brought in anew.
        if (isUpstreamError(error)) return undefined;
        throw error;
      });
      if (!blob) return undefined;
      if (wanted.from < (blob.total ?? Number.POSITIVE_INFINITY)) return { ...blob, body: givenBack(blob.body, slabs) };
      await discard(blob.body);
      return undefined;
    },
    async close() {
      await shared.close();
      await source?.close();
    },
  };
}

/** The same bytes, for a reader who looks at each chunk until the next one only. */
function givenBack(body: Bytes, slabs: Slabs): Bytes {
  const source = body[Symbol.asyncIterator]();
  let given: Uint8Array | undefined;
  const giveBack = () => {
    if (given) slabs.give(given);
    given = undefined;
  };
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      giveBack();
      const result = await source.next();
      if (result.done) return { done: true, value: undefined };
      given = result.value;
      return result;
    },
    async return() {
      // Not given back: a socket may still be writing it.
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
