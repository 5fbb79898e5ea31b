import type { IngestEvent } from './ingest/events.ts';
import { peerSource } from './ingest/peer-source.ts';
import { createSharedTransfers, type SharedTransfers } from './ingest/shared-transfers.ts';
import { spoolSource } from './ingest/spool-source.ts';
import type { PeersOptions } from './options.ts';
import type { Clock } from './runtime/clock.ts';
import { ownerName, thisOwner } from './runtime/process-owner.ts';
import type { Slabs } from './runtime/slabs.ts';
import type { Coordinator } from './store/coordinator.ts';

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
): SharedTransfers | undefined {
  if (!coordinator) return undefined;
  const { peers } = parts;
  const source = peers && peerSource({ ...parts, ...peers });
  const shared = createSharedTransfers({
    ...parts,
    coordinator,
    // Of one's own host the disk is nearer.
    sources: [spoolSource(parts), ...(source ? [source] : [])],
    self: { owner: ownerName(thisOwner()), ...(peers && { peerUrl: peers.url }) },
  });
  return {
    ...shared,
    async close() {
      await shared.close();
      await source?.close();
    },
  };
}
