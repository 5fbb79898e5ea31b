import type { Digest } from '../oci/digest.ts';
import type { SaidOfBlob } from '../upstream/said-of-blob.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';

/** The process that brings a blob in, as its lease tells the others. */
export interface Leader {
  /** Which process it is. */
  owner: string;
  /** Whose request it brings it in for: see {@link Permission.place}. */
  place: string;
  /** Nobody asked for it yet. */
  spare?: true;
  /** Its growing file, below the spool folder. */
  spool?: string;
  /** Where other hosts reach its cache. */
  peerUrl?: string;
}

/** What of a blob is to be read from its leader. */
export interface WantedOfLeader {
  /** The upstream's key. */
  upstream: string;
  digest: Digest;
  /** The first byte to give. */
  from: number;
  /** Ends the question, and the body. */
  signal: AbortSignal;
}

/** One way to read what another process brings in. */
export interface LeaderSource {
  /**
   * Reads a leader's blob from a byte on, as it comes in there, once its upstream has answered. What it gives need not be
   * right, as the reader hashes it. Its chunks are the reader's to keep.
   *
   * @returns `undefined`: this leader cannot be read in this way, the next one is tried
   * @throws from here and from `next()` of the body: the leader ended, failed or stands still; the caller looks again who
   * leads
   */
  open(leader: Leader, wanted: WantedOfLeader): Promise<FetchedBlob | undefined>;
}

/** Whether a repository may be given bytes that its own upstream did not send it (SEMANTICS 19, 20). */
export interface Permission {
  /** The repository and its credential: what was said to one place is true of it in all processes. */
  place: string;
  /** What it said of the blob already, where it did. */
  said: SaidOfBlob | undefined;
  /** Asks it. */
  ask(signal: AbortSignal): Promise<Reply<SaidOfBlob>>;
}

const version = 1;

/** A leader as the value of its lease. */
export function leaderText(leader: Leader): string {
  return JSON.stringify({ v: version, ...leader });
}

/** The leader that a lease's value tells of; `undefined` for that of another version, or something else. */
export function parseLeader(text: string): Leader | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { v, owner, place, spare, spool, peerUrl } = value as Record<string, unknown>;
  if (v !== version || typeof owner !== 'string' || typeof place !== 'string') return undefined;
  return {
    owner,
    place,
    ...(spare === true && { spare }),
    ...(typeof spool === 'string' && { spool }),
    ...(typeof peerUrl === 'string' && { peerUrl }),
  };
}
