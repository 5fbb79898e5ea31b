import type { Span } from './spans.ts';

/** What is known of a link when the plan is asked. */
export interface LinkReading {
  /** `clock.monotonic()` ms. */
  now: number;
  /** Bytes that have come over all connections, ever. */
  received: number;
  /** Connections that bring bytes now. */
  connections: number;
  /** The most there may be now. */
  most: number;
}

/** Says how many connections a link is worth, by what they bring. */
export interface SegmentPlan {
  /** How many connections there should be. */
  look(reading: LinkReading): number;
  /** One of those that were added broke or was refused: for a while none is added. */
  failed(now: number): void;
  /** Bytes per ms that one connection brings, as far as was measured; `undefined`: nobody knows yet. */
  pace(): number | undefined;
}

/** New connections begin slowly (RFC 5681): what they bring at first says little. */
const settleMs = 250;
const windowMs = 500;
/** A connection that is not there by then does not help. */
const beginWithinMs = 10_000;
/** Less than so much of what each could bring is no help: others get less by it, or the link is full. */
const leastGain = 0.5;
/** How long none is tried after one that was no help, at first and at most. */
const restMs = 10_000;
const longestRestMs = 60_000;

interface Measured {
  connections: number;
  /** Bytes per ms. */
  rate: number;
}

/**
 * Makes the plan of one link: one connection is added and what all bring before and after is compared; where it helped,
 * twice as many are added as before, else those that did not help are let go, and nothing is tried for a while.
 */
export function createSegmentPlan(): SegmentPlan {
  let wanted = 1;
  let seen: { connections: number; at: number } | undefined;
  let window: { from: number; received: number } | undefined;
  let trial: { before: Measured; since: number; isLastLook: boolean } | undefined;
  let latest: Measured | undefined;
  let step = 1;
  let rest = restMs;
  let restsUntil = Number.NEGATIVE_INFINITY;

  /** What the connections there are bring, once they were as many for long enough. */
  function measure({ now, received, connections }: LinkReading): Measured | undefined {
    if (seen?.connections !== connections) {
      seen = { connections, at: now };
      window = undefined;
    }
    if (now - seen.at < settleMs) return undefined;
    window ??= { from: now, received };
    if (now - window.from < windowMs) return undefined;
    const rate = (received - window.received) / (now - window.from);
    window = undefined;
    latest = { connections, rate };
    return latest;
  }

  function begin(before: Measured, { now, most }: LinkReading): void {
    const added = Math.min(step, most - before.connections);
    if (added < 1 || before.rate <= 0 || before.connections < 1 || now < restsUntil) return;
    wanted = before.connections + added;
    trial = { before, since: now, isLastLook: false };
  }

  function end(keep: number, now: number): void {
    trial = undefined;
    wanted = Math.max(keep, 1);
    step = 1;
    restsUntil = now + rest;
    rest = Math.min(2 * rest, longestRestMs);
  }

  function judge(after: Measured, reading: LinkReading, { before, isLastLook }: NonNullable<typeof trial>): void {
    const added = after.connections - before.connections;
    const each = before.rate / before.connections;
    const helped = Math.floor((after.rate - before.rate) / each + 1 - leastGain);
    if (helped >= added) {
      trial = undefined;
      step *= 2;
      begin(after, reading);
    } else if (isLastLook) {
      end(before.connections + Math.max(helped, 0), reading.now);
    } else {
      // Far away it takes them longer.
      trial = { before, since: reading.now, isLastLook: true };
    }
  }

  return {
    look(reading) {
      const { connections, now } = reading;
      // Others came or left: what is measured now has nothing to be compared with.
      if (trial && (connections < trial.before.connections || connections > wanted)) {
        wanted = trial.before.connections;
        trial = undefined;
      }
      const measured = measure(reading);
      if (!trial) {
        if (measured) begin(measured, reading);
      } else if (connections === wanted) {
        if (measured) judge(measured, reading, trial);
      } else if (now - trial.since >= beginWithinMs) {
        end(connections, now);
      }
      return wanted;
    },
    failed: (now) => end(trial?.before.connections ?? wanted, now),
    pace: () => latest && latest.rate / latest.connections,
  };
}

/** As much as a connection brings in so long: short enough to let go of one soon, long enough for the asking to be little. */
const pieceMs = 2_000;
const leastPiece = 4 * 1024 * 1024;
const mostPiece = 64 * 1024 * 1024;
/** Too little to be split: its end would come sooner by itself. */
const leastGap = 2 * 1024 * 1024;
const leastGapMs = 300;

/**
 * What of a gap is worth being asked for by itself: its end, as its beginning is on the way. The smaller the gap, the
 * smaller the piece, so that all who bring some are done at about the same time.
 *
 * @param connections how many bring the gap, this one included
 * @param pace bytes per ms that one brings, where it is known
 */
export function pieceOf(gap: Span, connections: number, pace: number | undefined): Span | undefined {
  const length = gap.end - gap.from;
  if (length < Math.max(leastGap, (pace ?? 0) * leastGapMs)) return undefined;
  const usual = Math.min(Math.max((pace ?? 0) * pieceMs, leastPiece), mostPiece);
  const size = Math.ceil(Math.min(usual, length / (2 * Math.max(connections, 2))));
  return { from: gap.end - size, end: gap.end };
}
