import type { IngestEvent } from './ingest/events.ts';
import { createSharedTransfers, type SharedTransfers } from './ingest/shared-transfers.ts';
import { spoolSource } from './ingest/spool-source.ts';
import type { Clock } from './runtime/clock.ts';
import { ownerName, thisOwner } from './runtime/process-owner.ts';
import type { Slabs } from './runtime/slabs.ts';
import type { Coordinator } from './store/coordinator.ts';

/** The transfers that the processes with this coordinator make for one another; `undefined`: there is none. */
export function shareTransfers(
  coordinator: Coordinator | undefined,
  parts: { directory: string; slabs: Slabs; clock: Clock; observe(event: IngestEvent): void },
): SharedTransfers | undefined {
  if (!coordinator) return undefined;
  return createSharedTransfers({
    ...parts,
    coordinator,
    sources: [spoolSource(parts)],
    self: { owner: ownerName(thisOwner()) },
  });
}
