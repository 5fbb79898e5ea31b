import type { Asker } from '../admission/asker.ts';
import type { RunningIngest } from '../ingest/ingests.ts';
import { isLocal, uncachedReason } from '../ingest/is-local.ts';
import { tracedWait } from '../ingest/traced-ingest.ts';
import type { Digest } from '../oci/digest.ts';
import type { RangeSpec } from '../runtime/byte-range.ts';
import { abortable } from '../runtime/collapse.ts';
import type { OpenedBlob } from '../store/shared-blobs.ts';
import { isProofOf, type SaidOfBlob } from '../upstream/said-of-blob.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { BlobAnswer, CacheStatus } from './answer.ts';
import { createBlobProof, proveBlob, saidByLink, toldSize } from './blob-proof.ts';
import { expectBlobSize } from './blob-size.ts';
import { coldParts } from './cold-parts.ts';
import { heldParts } from './held-parts.ts';
import { joinedAnswer } from './joined-transfer.ts';
import { passedInPassage } from './passed-blob.ts';
import { createPassedThrough } from './passed-through.ts';
import type { PullParts } from './pull-parts.ts';
import { createSharedBlobProof } from './shared-blob-proof.ts';
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
  /** What the repository said of it. Default: nothing. */
  said?: SaidOfBlob | undefined;
  /** Whether the store has it, and cannot give it right. Default false. */
  storeFailed?: boolean;
  /** Its {@link Ingests.endings} before the store was asked. None: the store had its turn. */
  seen?: number;
}

/** Answers blobs. @throws ProxyCacheError for a refusal, UpstreamError where the upstream could not say */
export type PullBlob = (request: BlobPull) => Promise<BlobAnswer>;

// A transfer may end, or the one it was started for be refused, while somebody is about to join it.
const mostTries = 5;
// What a repository gave, and was right.
const surely: SaidOfBlob = { named: true };
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
  const shared = createSharedBlobProof(parts, prove);
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
      let said = link && saidByLink(link);
      let storeFailed = false;
      if (said && opened && !isProofOf(said, opened.blob.size)) {
        // One of the two is wrong. What is here tells which.
        opened = await storedBlobs.check(opened, { told: said.size, forBytes: request.want === 'bytes' }, signal);
        storeFailed = !opened;
        if (opened && !isProofOf(said, opened.blob.size)) said = undefined;
      }
      if (!said && !isProofItself(request, opened !== undefined)) {
        link = undefined;
        said = await prove(target, { digest, known: opened?.blob.size, since, signal });
        // A transfer for somebody else may have ended meanwhile.
        opened ??= await storedBlobs.open(digest, signal, { forBytes });
      }
      const told = said?.size ?? hint;
      const seek = { told, forBytes: request.want === 'bytes' };
      const isOwn = said !== undefined && (!opened || isProofOf(said, opened.blob.size));
      const stored = opened && isOwn ? await storedBlobs.check(opened, seek, signal) : undefined;
      if (stored) {
        const { size } = stored.blob;
        // The bytes are right, so what was told of their number was wrong.
        if (told !== undefined && told !== size) void proveBlob(parts, target, { digest, size });
        return storedAnswer(request, stored, link ? { hit: true } : { hit: false, fwd: 'uri-miss', fwdStatus: 200 });
      }
      if (request.want === 'descriptor') {
        const stale = link !== undefined && !runningFor(request);
        const size = stale ? (await prove(target, { digest, since, signal })).size : told;
        await opened?.blob.close();
        expectBlobSize(target, digest, size);
        return unreadAnswer(request, { size });
      }
      // What is here is not this repository's, as far as it told: its own bytes are the proof then.
      if (opened) await opened.blob.close();
      // To find that it is wrong may have taken long, and none of that was the upstream's.
      storeFailed ||= opened !== undefined && isOwn;
      if (storeFailed) request = { ...request, since: clock.monotonic() };
      const size = said?.size ?? (await totalUnderWay(request));
      const cold = coldParts(request, { size, running: runningFor(request) });
      if (cold) {
        const waitsFrom = clock.monotonic();
        const leave = await target.upstream.passages.enter(signal);
        // SEMANTICS 32: what it waited for a passage was not the upstream's time, whether it got one or not.
        request = { ...request, since: request.since + clock.monotonic() - waitsFrom };
        if (leave) return await passedInPassage(leave, parts, request, cold);
      }
      return await ingested(request, { said: link ? undefined : said, storeFailed, seen });
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
      ingested({ ...request, ranges: undefined, since: clock.monotonic() }, { said: surely, storeFailed: true });
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
    let { said, seen, storeFailed = false } = known;
    for (let tries = 1; tries <= mostTries; tries++) {
      const running = runningFor(request);
      if (running && !running.provenFor.has(placeKey(target))) {
        // Began while the store was being asked, or for another repository.
        seen = ingests.endings(digest);
        const proof = await shared.ofTransfer({ ...request, said }, running);
        said = proof.said;
        request = { ...request, since: proof.since };
        if (!proof.proves) return heldParts(parts, request, said.size);
        running.provenFor.add(placeKey(target));
        continue;
      }
      if (!running && seen !== undefined && ingests.endings(digest) !== seen) {
        // Came in while the store was being asked: a second transfer would bring nothing more.
        seen = ingests.endings(digest);
        const opened = await storedBlobs.open(digest, signal);
        if (!opened) continue;
        const proof = await shared.ofStored({ ...request, said }, opened.blob);
        said = proof.said;
        if (!proof.proves) return heldParts(parts, request, said.size);
        const stored = await storedBlobs.check(opened, { forBytes: true }, signal);
        if (stored) return storedAnswer(request, stored, { hit: true });
        // To find that it is wrong may have taken long.
        request = { ...request, since: clock.monotonic() };
        storeFailed = true;
        continue;
      }
      const ingest = running ?? startIngest(parts, { ...request, said, storeFailed });
      if (!running) started(request);
      try {
        const answer = await tracedWait(parts.trace, running, () =>
          joinedAnswer(parts, request, { ingest, collapsed: running !== undefined }),
        );
        if (answer) return answer;
        // It has ended in between: the store should have it. One that failed proves nothing.
        for (const end of [ingest.ended, ingest.verified]) await abortable(end, signal);
        said = surely;
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

  /** Whether a client that joined a transfer has longer to wait than that had left when it failed. */
  function outlasts({ target, since }: Asking, { firstByteAt, isPrefetched }: RunningIngest): boolean {
    const now = clock.monotonic();
    const deadlineAt = since + target.upstream.blobWithinMs;
    const hasLonger = isPrefetched || deadlineAt - firstByteAt > firstByteAt - now;
    return deadlineAt - now >= leastLeftMs && hasLonger;
  }
}
