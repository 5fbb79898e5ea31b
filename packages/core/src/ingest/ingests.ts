import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { createAttendance } from './attendance.ts';
import { claimStep } from './claimed-body.ts';
import { createIngest, type Ingest, type IngestParts, type IngestRequest } from './ingest.ts';

/** An ingest under way, and who may read it. Repositories are given as `<scope>/<repository>`. */
export interface RunningIngest extends Ingest {
  /** Whose request it is: what it comes to is said of this repository alone. */
  readonly startedFor: string;
  /** Who proved to hold its blob, and who it was started for: others join only after a proof of their own. */
  readonly provenFor: Set<string>;
  /** `clock.monotonic()` ms by which its first byte must be here. */
  readonly firstByteAt: number;
  /**
   * Counts one who waits for it or reads it, until the function is called. It goes on when all have left, unless nothing
   * has come yet, or nothing more comes for a while.
   */
  join(): () => void;
}

/** All ingests of this process: one per upstream and digest. */
export interface Ingests {
  /** The running ingest, while it can be followed or its blob is on the way to the store. */
  find(upstream: string, digest: Digest): RunningIngest | undefined;
  /**
   * Starts one.
   *
   * @throws ProxyCacheError `too-many-ingests`, `closed`
   */
  start(request: IngestRequest, startedFor: string): RunningIngest;
  /** Another number than before where a transfer of this blob has been verified and ended since. */
  endings(digest: Digest): number;
  /** Starts none any more. Lets what runs end by itself for `graceMs`, then cuts it off. Resolves when all have ended. */
  close(graceMs: number): Promise<void>;
}

// Of blobs that came in, or outgrew the disk, lately.
const mostRemembered = 10_000;

// A transfer that brought nothing for so long keeps no other from its place.
const idleAfterMs = 5_000;

/** A transfer that has not ended, and what it had brought when it was last looked at. */
interface Filling {
  request: IngestRequest;
  received(): number;
  seen: { bytes: number; at: number };
}

/**
 * @param parts.maxIngests how many may be coming in at a time; those that wait for the store do not count, and those that
 * bring nothing are counted apart, by upstream: one that is down must not take the places of the others
 */
export function createIngests(parts: IngestParts & { maxIngests: number }): Ingests {
  const { clock, maxIngests } = parts;
  const joinable = new Map<string, RunningIngest>();
  const running = new Map<RunningIngest, AbortController>();
  const filling = new Set<Filling>();
  const endings = new LRUCache<Digest, number>({ max: mostRemembered });
  // Without this each pull of a blob whose size nobody told would break off where the disk is full.
  const leastSizes = new LRUCache<Digest, number>({ max: mostRemembered });
  let ended = 0;
  let closed = false;

  function isIdle(one: Filling): boolean {
    const [bytes, at] = [one.received(), clock.monotonic()];
    if (bytes !== one.seen.bytes) one.seen = { bytes, at };
    return one.request.isDown?.() === true || at - one.seen.at >= idleAfterMs;
  }

  function hasRoomFor({ upstream, isDown }: IngestRequest): boolean {
    if (filling.size < maxIngests) return true;
    const idle = [...filling].filter(isIdle);
    if (idle.filter(({ request }) => request.upstream === upstream).length >= maxIngests) return false;
    return isDown?.() === true || filling.size - idle.length < maxIngests;
  }

  return {
    find: (upstream, digest) => joinable.get(`${upstream} ${digest}`),
    start(request, startedFor) {
      if (closed) throw new ProxyCacheError('closed', 'the cache is closed');
      if (!hasRoomFor(request)) {
        throw new ProxyCacheError('too-many-ingests', `${filling.size} transfers run already; try again shortly`);
      }
      const key = `${request.upstream} ${request.digest}`;
      const leastSize = leastSizes.get(request.digest) ?? 0;
      const startedAt = clock.monotonic();
      const cutOff = new AbortController();
      const ingest = createIngest({ leastSize, ...request }, parts, cutOff.signal);
      const { received } = ingest;
      const place: Filling = { request, received, seen: { bytes: 0, at: startedAt } };
      const part = () => {
        if (joinable.get(key) === entry) joinable.delete(key);
      };
      const giveUp = (why: Error) => {
        part();
        filling.delete(place);
        cutOff.abort(why);
      };
      const attendance = createAttendance({ received, giveUp }, clock);
      const entry: RunningIngest = {
        ...ingest,
        startedFor,
        provenFor: new Set([startedFor]),
        firstByteAt: startedAt + request.firstByteWithinMs,
        join: attendance.join,
      };
      joinable.set(key, entry);
      running.set(entry, cutOff);
      filling.add(place);
      let verified = false;
      // What failed is no use to newcomers, though its readers may still be leaving.
      ingest.verified.then(
        () => {
          verified = true;
          attendance.end();
          filling.delete(place);
        },
        (error) => {
          attendance.end();
          filling.delete(place);
          part();
          if (isProxyCacheError(error) && error.code === 'storage-full' && ingest.received() > 0) {
            leastSizes.set(request.digest, ingest.received() + claimStep);
          }
        },
      );
      void ingest.ended.then(() => {
        part();
        running.delete(entry);
        if (verified) endings.set(request.digest, ++ended);
      });
      return entry;
    },
    endings: (digest) => endings.get(digest) ?? 0,
    async close(graceMs) {
      closed = true;
      const ended = Promise.all([...running.keys()].map((ingest) => ingest.ended));
      const why = new ProxyCacheError('closed', 'the cache was closed while the blob came in');
      const cut = () => {
        for (const cutOff of running.values()) cutOff.abort(why);
      };
      if (graceMs === 0) cut();
      const stop = clock.after(graceMs, cut);
      await ended;
      stop();
    },
  };
}
