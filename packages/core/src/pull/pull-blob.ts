import type { Asker } from '../admission/asker.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import { isLocal, uncachedReason } from '../ingest/is-local.ts';
import { tracedWait } from '../ingest/traced-ingest.ts';
import type { Digest } from '../oci/digest.ts';
import type { RangeSpec } from '../runtime/byte-range.ts';
import { abortable } from '../runtime/collapse.ts';
import type { OpenedBlob } from '../store/shared-blobs.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import { createBlobProof, proveBlob, type SaidOfBlob, toldSize } from './blob-proof.ts';
import { expectBlobSize } from './blob-size.ts';
import { coldParts } from './cold-parts.ts';
import { followedAnswer } from './followed-blob.ts';
import { heldParts } from './held-parts.ts';
import { passedIfFree } from './passed-blob.ts';
import { createPassedThrough } from './passed-through.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { restOfBlob } from './rest-of-blob.ts';
import { placeKey, startIngest } from './start-ingest.ts';
import { createStoredBlobs } from './stored-blob.ts';
import type { Target } from './target.ts';
import { unreadAnswer } from './unread-answer.ts';

/** A request for a blob. `want`: its bytes (GET), or its size (HEAD). */
export interface BlobPull {
  target: Target;
  digest: Digest;
  want: 'bytes' | 'descriptor';
  /** The parts asked for; none: the whole. */
  ranges?: readonly RangeSpec[] | undefined;
  /** Who asks. Default: the host itself. */
  asker?: Asker | undefined;
  /** May be a lazy getter: what is at hand is answered without. */
  readonly signal: AbortSignal;
}

/** `since`: `clock.monotonic()` ms at which its client began to wait, however many questions it takes. */
type Asking = BlobPull & { since: number };

/** What is known of a blob that the store does not have, or cannot read. */
interface KnownBefore {
  /** Whether the repository proved to hold it. */
  proven: boolean;
  /** Whether the store has it, and cannot give it right. Default false. */
  storeFailed?: boolean;
  /** Its {@link Ingests.endings} before the store was asked. None: the store had its turn. */
  seen?: number;
}

/** Answers blobs. @throws ProxyCacheError for a refusal, UpstreamError where the upstream could not say */
export type PullBlob = (request: BlobPull) => Promise<BlobAnswer>;

// A transfer may end, or the one it was started for be refused, while somebody is about to join it.
const mostTries = 5;
// With less time than this another transfer is in vain.
const leastLeftMs = 1_000;

/**
 * A blob comes from the store, from a transfer under way, or from a new one, in that order; never through a repository
 * that did not prove to hold it.
 *
 * @param started told of each blob that a client's request has to bring in
 */
export function createPullBlob(parts: PullParts, started: (blob: BlobPull) => void = () => undefined): PullBlob {
  const { ingests, links, clock } = parts;
  const prove = createBlobProof(parts);
  const passed = createPassedThrough(parts, prove);
  const storedBlobs = createStoredBlobs(parts);

  return async (pull) => {
    const atHand = storedBlobs.atHand(pull);
    if (atHand) return storedAnswer(pull, atHand, { hit: true });
    let request: Asking = { ...pull, since: clock.monotonic() };
    const { target, digest, since, signal } = request;
    const seen = ingests.endings(digest);
    const hint = await toldSize(parts, target, { digest, signal });
    // A part is opened for itself.
    const forBytes = request.want === 'bytes' && !request.ranges?.length;
    const findLink = () => links.find(target.place, 'blob', digest, signal);
    // Not for a plain GET: of what is not here that is its own proof.
    const ahead = forBytes ? undefined : findLink();
    // It is waited for below.
    ahead?.catch(() => undefined);
    let opened = await storedBlobs.open(digest, signal, { forBytes });
    try {
      let link = await ahead;
      // The last thing to wait for before a proof is asked for, or joined.
      if (!link && !isProofItself(request, opened !== undefined)) link = await findLink();
      let proof: SaidOfBlob | undefined = link && { ...link, proves: true };
      if (!link && !isProofItself(request, opened !== undefined)) {
        proof = await prove(target, { digest, known: opened?.blob.size, since, signal });
        // A transfer for somebody else may have ended meanwhile.
        opened ??= await storedBlobs.open(digest, signal, { forBytes });
      }
      const told = proof?.size ?? hint;
      const seek = { told, forBytes: request.want === 'bytes' };
      const stored = opened && proof?.proves ? await storedBlobs.check(opened, seek, signal) : undefined;
      if (stored) {
        const { size } = stored.blob;
        // The bytes are right, so what was told of their number was wrong.
        if (told !== undefined && told !== size) void proveBlob(parts, target, { digest, size });
        return storedAnswer(request, stored, link ? { hit: true } : { hit: false, fwd: 'uri-miss', fwdStatus: 200 });
      }
      if (request.want === 'descriptor') {
        const stale = link !== undefined && !runningFor(request);
        const said = stale ? await prove(target, { digest, since, signal }) : { size: told };
        await opened?.blob.close();
        expectBlobSize(target, digest, said.size);
        return unreadAnswer(request, said);
      }
      // What is here is not this repository's, as far as it told: its own bytes are the proof then.
      if (opened) await opened.blob.close();
      // To find that it is wrong may have taken long, and none of that was the upstream's.
      const storeFailed = opened !== undefined && proof?.proves === true;
      if (storeFailed) request = { ...request, since: clock.monotonic() };
      const size = proof?.size ?? (await totalUnderWay(request));
      const cold = coldParts(request, { size, running: runningFor(request) });
      const part = cold && (await passedIfFree(parts, request, cold));
      return part ?? (await ingested(request, { proven: proof?.proves === true, storeFailed, seen }));
    } catch (error) {
      await opened?.blob.close();
      throw error;
    }
  };

  /** A plain GET of what nobody has here is its own proof; so is one that this repository has under way. */
  function isProofItself(request: BlobPull, stored: boolean): boolean {
    if (request.want !== 'bytes' || stored) return false;
    const running = runningFor(request);
    return running ? running.provenFor.has(placeKey(request.target)) : !request.ranges?.length;
  }

  function runningFor({ target, digest }: BlobPull): RunningIngest | undefined {
    return ingests.find(target.place.upstream, digest);
  }

  function storedAnswer(request: BlobPull, stored: OpenedBlob, cacheStatus: CacheStatus): BlobAnswer {
    const { ranges } = request;
    const signal = () => request.signal;
    // What is answered here was proven; the store had its turn.
    const refetch = () =>
      ingested({ ...request, ranges: undefined, since: clock.monotonic() }, { proven: true, storeFailed: true });
    return storedBlobs.answer(stored, { ranges, cacheStatus, signal, refetch });
  }

  /** The size of a blob of which this repository has a transfer under way. */
  async function totalUnderWay(request: BlobPull): Promise<number | undefined> {
    const running = request.ranges?.length ? runningFor(request) : undefined;
    if (!running?.provenFor.has(placeKey(request.target))) return undefined;
    const reply = await abortable(running.reply, request.signal).catch(() => undefined);
    return reply?.kind === 'found' ? reply.value.total : undefined;
  }

  /** Through a transfer of the whole blob: one that runs, or a new one. */
  async function ingested(asking: Asking, known: KnownBefore): Promise<BlobAnswer> {
    const { target, digest, signal } = asking;
    let request = asking;
    let { proven, seen, storeFailed = false } = known;
    for (let tries = 1; tries <= mostTries; tries++) {
      const running = runningFor(request);
      const isNew = running
        ? !proven && !running.provenFor.has(placeKey(target))
        : seen !== undefined && ingests.endings(digest) !== seen;
      if (isNew) {
        // Began, or came in, while the store was being asked: a second transfer would bring nothing more.
        seen = ingests.endings(digest);
        if (!proven && !(await links.find(target.place, 'blob', digest, signal))) {
          const said = await prove(target, { digest, since: request.since, signal });
          if (!said.proves) return heldParts(parts, request, said.size);
        }
        proven = true;
        const opened = running ? undefined : await storedBlobs.open(digest, signal);
        const stored = opened && (await storedBlobs.check(opened, { forBytes: true }, signal));
        if (stored) return storedAnswer(request, stored, { hit: true });
        // To find that it is wrong may have taken long.
        if (opened) request = { ...request, since: clock.monotonic() };
        storeFailed ||= opened !== undefined;
        continue;
      }
      const ingest = running ?? startIngest(parts, { ...request, proven, storeFailed });
      if (!running) started(request);
      if (proven) ingest.provenFor.add(placeKey(target));
      try {
        const answer = await tracedWait(parts.trace, running, () => joined(request, ingest, running !== undefined));
        if (answer) return answer;
        // It has ended in between: the store should have it. One that failed proves nothing.
        for (const end of [ingest.ended, ingest.verified]) await abortable(end, signal);
        proven = true;
      } catch (error) {
        signal.throwIfAborted();
        if (isLocal(error)) return passed(request, uncachedReason(error));
        // What another repository's request came to says nothing about this one's.
        const isOurs = ingest.startedFor === placeKey(target);
        // As long as bytes came nobody waited for a first one: with its own upstream request that begins anew.
        if (!isOurs && ingest.received() > 0) request = { ...request, since: clock.monotonic() };
        if (isOurs && !(running && tries < mostTries && isUpstreamError(error) && outlasts(request, ingest)))
          throw error;
      }
    }
    return passed(request, 'spool-failed');
  }

  /** One who waits for a transfer, then reads it. `undefined`: nobody holds what came of it any more. */
  async function joined(request: BlobPull, ingest: RunningIngest, collapsed: boolean): Promise<BlobAnswer | undefined> {
    const leave = ingest.join();
    let answer: BlobAnswer | undefined;
    try {
      answer = await followed(request, ingest, collapsed);
    } finally {
      if (!answer) leave();
    }
    const close = answer?.close;
    return answer && close && { ...answer, close: () => close().finally(leave) };
  }

  async function followed(
    request: BlobPull,
    ingest: RunningIngest,
    collapsed: boolean,
  ): Promise<BlobAnswer | undefined> {
    const { target, digest, signal, ranges } = request;
    const reply = await abortable(ingest.reply, signal);
    if (reply.kind !== 'found') {
      throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
    }
    const told = reply.value.total === undefined ? await toldSize(parts, target, { digest, signal }) : undefined;
    const hold = ingest.hold();
    if (!hold) return undefined;
    return await followedAnswer(ingest, hold, {
      digest,
      told,
      ranges,
      whole: target.upstream.coldRange === 'verify' && (ranges?.length ?? 0) > 0,
      goOn: (rest, { signal: ending, ...what }) => restOfBlob(parts, { target, digest, signal: ending }, rest, what),
      signal,
      cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200, stored: true, ...(collapsed && { collapsed }) },
    });
  }

  /** Whether a client that joined a transfer has longer to wait than that had left when it failed. */
  function outlasts({ target, since }: Asking, { firstByteAt, isPrefetched }: RunningIngest): boolean {
    const now = clock.monotonic();
    const deadlineAt = since + target.upstream.blobWithinMs;
    const hasLonger = isPrefetched || deadlineAt - firstByteAt > firstByteAt - now;
    return deadlineAt - now >= leastLeftMs && hasLonger;
  }
}
