import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { createRecent } from '../runtime/recent.ts';
import type { Trace } from '../runtime/tracing.ts';
import { createAttendance, type Leave } from './attendance.ts';
import { claimStep } from './claimed-body.ts';
import type { ContentHash } from './content-hash.ts';
import { inTurn } from './in-turn.ts';
import { createIngest, type IngestParts, type IngestRequest } from './ingest.ts';
import { isLocal } from './is-local.ts';
import { createPrecedence, type Standing } from './precedence.ts';
import type { SharedTransfers } from './shared-transfers.ts';
import { type TracedIngest, tracedIngest } from './traced-ingest.ts';
import { createTurns } from './turns.ts';

/** An ingest under way, and who may read it. Repositories are given as `<scope>/<repository>`. */
export interface RunningIngest extends TracedIngest {
  /** Whose request it is: what it comes to is said of this repository alone. */
  readonly startedFor: string;
  /** Who proved to hold its blob, and who it was started for: others join only after a proof of their own. */
  readonly provenFor: Set<string>;
  /** Whether it began before anybody asked: that it failed is no answer to those who have asked since. */
  readonly isPrefetched: boolean;
  /** `clock.monotonic()` ms by which its first byte must be here. */
  readonly firstByteAt: number;
  /**
   * Counts one who waits for it or reads it, until the function is called. It goes on when all have left, unless nothing
   * has come yet, or nothing more comes for a while.
   */
  join(): Leave;
}

/** All ingests of this process: one per upstream and digest. */
export interface Ingests {
  /** The running ingest, while it can be followed or its blob is on the way to the store. */
  find(upstream: string, digest: Digest): RunningIngest | undefined;
  /** Whether any upstream's is. Cheap where few are running, however often it is asked. */
  isComingIn(digest: Digest): boolean;
  /**
   * Starts one.
   *
   * @throws ProxyCacheError `too-many-ingests`, `closed`
   */
  start(request: IngestRequest, startedFor: string): RunningIngest;
  /** Ends the transfers that nobody asked for yet, of this upstream or of all. */
  giveWay(upstream?: string): void;
  /** For how many ms nothing that a client asked for has come in from an upstream. */
  quietFor(upstream: string): number;
  /** Another number than before where a transfer of this blob has been verified and ended since. */
  endings(digest: Digest): number;
  /** Starts none any more. Lets what runs end by itself for `graceMs`, then cuts it off. Resolves when all have ended. */
  close(graceMs: number): Promise<void>;
}

// Of blobs that came in, or outgrew the disk, lately.
const mostRemembered = 10_000;

// A transfer that brought nothing for so long keeps no other from its place.
const idleAfterMs = 5_000;

// Another process takes over from one that died, however little patience there is with an upstream.
const leastTakeoverMs = 10_000;

/** A transfer that has not ended, and what it had brought when it was last looked at. */
interface Filling {
  request: IngestRequest;
  received(): number;
  standing: Standing;
  giveUp(why: Error): void;
  seen: { bytes: number; at: number };
}

/**
 * @param parts.maxIngests how many may be coming in at a time; those that wait for the store do not count, and those that
 * bring nothing are counted apart, by upstream: one that is down must not take the places of the others; those that nobody
 * asked for take none from the others at all
 * @param parts.hashElsewhereFrom from how many transfers at once on `hashElsewhere` is asked,
 * where none comes fast. Default 1
 * @param parts.sharing what is brought in for other processes, too. Default: nothing is
 */
export function createIngests(
  parts: IngestParts & {
    maxIngests: number;
    hashElsewhereFrom?: number;
    sharing?: SharedTransfers | undefined;
    /** Default: nobody traces. */
    trace?: Trace | undefined;
  },
): Ingests {
  const { clock, maxIngests, hashElsewhereFrom = 1, sharing, trace } = parts;
  const turns = createTurns();
  const joinable = new Map<string, RunningIngest>();
  const running = new Map<RunningIngest, AbortController>();
  const filling = new Set<Filling>();
  const precedence = createPrecedence(clock);
  const endings = createRecent<Digest, number>(mostRemembered);
  // Without this each pull of a blob whose size nobody told would break off where the disk is full.
  const leastSizes = createRecent<Digest, number>(mostRemembered);
  let ended = 0;
  let closed = false;

  function hashElsewhere(digest: Digest, isFast: boolean): ContentHash | undefined {
    return isFast || filling.size >= hashElsewhereFrom ? parts.hashElsewhere?.(digest, isFast) : undefined;
  }

  function isIdle(one: Filling): boolean {
    const [bytes, at] = [one.received(), clock.monotonic()];
    if (bytes !== one.seen.bytes) one.seen = { bytes, at };
    return one.request.isDown?.() === true || at - one.seen.at >= idleAfterMs;
  }

  function hasRoomFor({ upstream, isDown, spare }: IngestRequest): boolean {
    if (filling.size < maxIngests) return true;
    if (spare) return false;
    const clients = [...filling].filter(({ standing }) => !standing.isSpare());
    if (clients.length < maxIngests) return true;
    const idle = clients.filter(isIdle);
    if (idle.filter(({ request }) => request.upstream === upstream).length >= maxIngests) return false;
    return isDown?.() === true || clients.length - idle.length < maxIngests;
  }

  return {
    find: (upstream, digest) => joinable.get(`${upstream} ${digest}`),
    isComingIn(digest) {
      for (const key of joinable.keys()) if (key.endsWith(digest)) return true;
      return false;
    },
    start(request, startedFor) {
      if (closed) throw new ProxyCacheError('closed', 'the cache is closed');
      if (!hasRoomFor(request)) {
        throw new ProxyCacheError('too-many-ingests', `${filling.size} transfers run already; try again shortly`);
      }
      const { spare } = request;
      const key = `${request.upstream} ${request.digest}`;
      const leastSize = leastSizes.get(request.digest) ?? 0;
      const startedAt = clock.monotonic();
      const cutOff = new AbortController();
      const standing = precedence.enter(request.upstream, spare);
      const own = { ...request, fetch: spare ? inTurn(request.fetch, standing) : request.fetch };
      const shared = sharing?.begin(own, { ...parts, claim: () => standing.claim() });
      const asked = {
        leastSize,
        ...own,
        ...(shared && { fetch: shared.fetch, resumeWithinMs: Math.max(own.resumeWithinMs, leastTakeoverMs) }),
        get segments() {
          return shared?.leads() === false ? undefined : own.segments;
        },
      };
      const itsParts = { ...parts, turns, hashElsewhere, ...(shared && { spool: shared.spool, blobs: shared.blobs }) };
      const ingest = tracedIngest(trace, request, () => createIngest(asked, itsParts, cutOff.signal));
      const { received } = ingest;
      const part = () => {
        if (joinable.get(key) === entry) joinable.delete(key);
      };
      const settle = () => {
        filling.delete(place);
        standing.end();
      };
      const giveUp = (why: Error) => {
        part();
        settle();
        cutOff.abort(why);
      };
      const place: Filling = { request, received, standing, giveUp, seen: { bytes: 0, at: startedAt } };
      const attendance = createAttendance({ received, giveUp }, clock);
      // Until somebody asks for it, whoever had it started is who waits for it.
      let leaveIt = spare && attendance.join();
      const entry: RunningIngest = {
        ...ingest,
        startedFor,
        provenFor: new Set([startedFor]),
        isPrefetched: spare !== undefined,
        firstByteAt: startedAt + request.firstByteWithinMs,
        join() {
          const leave = attendance.join();
          standing.claim();
          shared?.claimed();
          leaveIt?.();
          leaveIt = undefined;
          return leave;
        },
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
          settle();
        },
        (error) => {
          attendance.end();
          settle();
          part();
          if (isLocal(error) && error.code !== 'storage-failed' && ingest.received() > 0) {
            leastSizes.set(request.digest, ingest.received() + claimStep);
          }
        },
      );
      void ingest.ended.then(() => {
        void shared?.end();
        part();
        running.delete(entry);
        if (verified) endings.set(request.digest, ++ended);
      });
      return entry;
    },
    giveWay(upstream) {
      for (const { request, standing, giveUp } of filling) {
        if (!standing.isSpare() || request.upstream !== (upstream ?? request.upstream)) continue;
        giveUp(new Error('nobody asked for it yet, and its place was needed'));
      }
    },
    quietFor: precedence.quietFor,
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
      await sharing?.close();
    },
  };
}
