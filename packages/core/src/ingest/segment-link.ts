import type { Clock } from '../runtime/clock.ts';
import { createSegmentPlan, pieceOf } from './segment-plan.ts';
import type { Span } from './spans.ts';

/** How the connections of one upstream are shared by the transfers of its blobs. */
export interface LinkRules {
  /** Connections of one blob at most. */
  connections: number;
  /** Bytes that a blob has at least, for its parts to be asked for apart. */
  minSize: number;
  /** Connections that blobs may have of the upstream at all. */
  limit: number;
}

/** One transfer, as the link sees it. */
export interface LinkedTransfer {
  /** How many connections bring it now. */
  connections(): number;
  /** How many it has open beside its first, also those that bring nothing yet. */
  segments(): number;
  /** Opens one more, where there is something for it to bring. */
  open(): boolean;
  /** Closes the one that was opened last. */
  close(): void;
}

/** A transfer's place on a link. */
export interface LinkPlace {
  /** So many bytes came, over whichever of its connections. */
  came(bytes: number): void;
  /** Whether a segment that has brought its piece goes on with another. */
  keeps(): boolean;
  /** What of a gap a segment is to bring; `undefined`: nothing, the gap is small. */
  piece(gap: Span): Span | undefined;
  /** A segment broke off: for a while there are not more. */
  failed(): void;
  /** The upstream does not give segments: none is opened until then, in `clock.monotonic()` ms. */
  refused(until: number): void;
  leave(): void;
}

/** The link to one upstream, as all transfers of its blobs share it. */
export interface SegmentLink {
  readonly minSize: number;
  /** Every transfer enters, whether or not it has segments: it takes a connection, and its share of the link. */
  enter(transfer: LinkedTransfer): LinkPlace;
}

/** What blobs have of an upstream's connections is theirs by half: segments must never be why another waits for one. */
const share = 1 / 2;

// Often enough for what is measured over half a second.
const lookEveryMs = 50;

export function createSegmentLink({ connections, minSize, limit }: LinkRules, clock: Clock): SegmentLink {
  const transfers = new Set<LinkedTransfer>();
  const budget = Math.floor(limit * share);
  let plan = createSegmentPlan();
  let received = 0;
  let wanted = 1;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let refusedUntil = Number.NEGATIVE_INFINITY;

  function total(count: (transfer: LinkedTransfer) => number): number {
    let sum = 0;
    for (const transfer of transfers) sum += count(transfer);
    return sum;
  }

  /** Connections that there are or will be: each transfer has one, whatever it does. */
  const open = () => transfers.size + total((transfer) => transfer.segments());

  /** How many segments one transfer may have. */
  const most = () => Math.min(connections, Math.max(Math.floor(budget / Math.max(transfers.size, 1)), 1)) - 1;

  function look(now: number): void {
    lookedAt = now;
    const bringing = total((transfer) => transfer.connections());
    const allowed = Math.min(budget, transfers.size * (most() + 1));
    wanted = Math.min(plan.look({ now, received, connections: bringing, most: allowed }), allowed);
    if (now < refusedUntil) return;
    while (open() < wanted) if (!openOne()) return;
  }

  /** For the transfer that has fewest. */
  function openOne(): boolean {
    return [...transfers]
      .filter((transfer) => transfer.segments() < most())
      .sort((one, other) => one.segments() - other.segments())
      .some((transfer) => transfer.open());
  }

  /** For one more transfer. */
  function makeRoom(): void {
    for (const transfer of transfers) {
      for (let rest = transfer.segments(); rest > 0 && open() >= limit; rest--) transfer.close();
    }
  }

  return {
    minSize,
    enter(transfer) {
      makeRoom();
      transfers.add(transfer);
      return {
        came(bytes) {
          received += bytes;
          const now = clock.monotonic();
          if (now - lookedAt >= lookEveryMs) look(now);
        },
        keeps: () => open() <= wanted && transfer.segments() <= most() && clock.monotonic() >= refusedUntil,
        piece: (gap) => pieceOf(gap, transfer.segments() + 1, plan.pace()),
        failed: () => plan.failed(clock.monotonic()),
        refused(until) {
          refusedUntil = Math.max(refusedUntil, until);
        },
        leave() {
          transfers.delete(transfer);
          if (transfers.size > 0) return;
          // What the link could bear then says nothing of later.
          plan = createSegmentPlan();
          wanted = 1;
        },
      };
    },
  };
}
