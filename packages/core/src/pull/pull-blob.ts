import type { RunningIngest } from '../ingest/ingests.ts';
import type { Digest } from '../oci/digest.ts';
import { type ByteRange, type RangeSpec, satisfiableRanges } from '../runtime/byte-range.ts';
import { abortable } from '../runtime/collapse.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { BlobAnswer } from './answer.ts';
import { createBlobProof, proveBlob } from './blob-proof.ts';
import { followedAnswer } from './followed-blob.ts';
import { passedParts, passedWhole } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { openStored, storedAnswer } from './stored-blob.ts';
import { queryOf, type Target } from './target.ts';

/** A request for a blob. `want`: its bytes (GET), or its size (HEAD). */
export interface BlobPull {
  target: Target;
  digest: Digest;
  want: 'bytes' | 'descriptor';
  /** The parts asked for; none: the whole. */
  ranges?: readonly RangeSpec[] | undefined;
  signal: AbortSignal;
}

/** Answers blobs. @throws ProxyCacheError for a refusal, UpstreamError where the upstream could not say */
export type PullBlob = (request: BlobPull) => Promise<BlobAnswer>;

// A transfer may end, or the one it was started for be refused, while somebody is about to join it.
const mostTries = 3;

/**
 * A blob comes from the store, from a transfer under way, or from a new one, in that order; never through a repository
 * that did not prove to hold it.
 */
export function createPullBlob(parts: PullParts): PullBlob {
  const { ingests, links, manifests } = parts;
  const prove = createBlobProof(parts);

  return async (request) => {
    const { target, digest, signal, ranges } = request;
    const link = await links.find(target.place, 'blob', digest, signal);
    const stored = await openStored(parts, { digest, size: link?.size }, signal);
    try {
      const running = runningFor(request);
      // A plain GET of what nobody has here is its own proof; so is one that this repository has under way.
      const selfProving = request.want === 'bytes' && !stored && (running ? running.mine : !ranges?.length);
      const proof = link ?? (selfProving ? undefined : await prove(target, digest, signal));

      if (stored) {
        const cacheStatus = link ? { hit: true } : ({ hit: false, fwd: 'uri-miss', fwdStatus: 200 } as const);
        return storedAnswer(parts, { digest, blob: stored, ranges }, { cacheStatus, signal });
      }
      const size = proof?.size ?? manifests.sizeOf(digest);
      if (request.want === 'descriptor')
        return headAnswer(request, link && !running ? await prove(target, digest, signal) : { size });
      const cold = coldParts(request, size);
      return cold ? await passedParts(parts, request, cold) : await ingested(request, proof !== undefined);
    } catch (error) {
      await stored?.close();
      throw error;
    }
  };

  function runningFor({ target, digest }: BlobPull): (RunningIngest & { mine: boolean }) | undefined {
    const running = ingests.find(target.place.upstream, digest);
    return running && { ...running, mine: running.provenFor.has(placeKey(target)) };
  }

  /** Parts that are better passed through than waited for; `undefined`: through a transfer of the whole. */
  function coldParts(
    request: BlobPull,
    size: number | undefined,
  ): { size: number; ranges: readonly [ByteRange, ...ByteRange[]] } | undefined {
    if (!request.ranges?.length || size === undefined || request.target.upstream.coldRange === 'verify')
      return undefined;
    const [only, ...others] = satisfiableRanges(request.ranges, size);
    // Several parts would be as many requests; and what goes on to the end is how a broken pull is resumed.
    if (!only || others.length > 0 || only.to === size - 1) return undefined;
    const running = ingests.find(request.target.place.upstream, request.digest);
    return running && running.releasable() > only.to ? undefined : { size, ranges: [only] };
  }

  /** Through a transfer of the whole blob: one that runs, or a new one. */
  async function ingested(request: BlobPull, proven: boolean): Promise<BlobAnswer> {
    const { target, digest, signal } = request;
    for (let tries = 1; ; tries++) {
      const running = ingests.find(target.place.upstream, digest);
      const mine = !running || running.provenFor.has(placeKey(target));
      const ingest = running ?? start(request);
      if (proven) ingest.provenFor.add(placeKey(target));
      try {
        const reply = await abortable(ingest.reply, signal);
        if (reply.kind !== 'found') {
          throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
        }
        const hold = ingest.hold();
        if (hold) {
          return await followedAnswer(ingest, hold, {
            digest,
            total: reply.value.total,
            ranges: request.ranges,
            whole: target.upstream.coldRange === 'verify' && (request.ranges?.length ?? 0) > 0,
            signal,
            cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200, stored: true, ...(running && { collapsed: true }) },
          });
        }
        // It ended in between: by now the store should have it.
        const stored = await openStored(parts, { digest, size: reply.value.total }, signal);
        if (stored)
          return storedAnswer(
            parts,
            { digest, blob: stored, ranges: request.ranges },
            { cacheStatus: { hit: true }, signal },
          );
      } catch (error) {
        signal.throwIfAborted();
        if (isLocal(error)) return passed(request, error.code === 'storage-full' ? 'min-free' : 'spool-failed');
        // What another repository's request came to says nothing about this one's.
        if (mine || tries === mostTries) throw error;
      }
      if (tries === mostTries) return passed(request, 'spool-failed');
    }
  }

  function start({ target, digest }: BlobPull): RunningIngest {
    const { upstream, repository } = target.place;
    const expectedSize = manifests.sizeOf(digest);
    return ingests.start(
      {
        upstream,
        repository,
        digest,
        expectedSize,
        async fetch(from, signal) {
          const query = queryOf(target, parts.clock.monotonic(), { ms: target.upstream.blobWithinMs, signal });
          const reply = await target.upstream.client.fetchBlob({ ...query, digest, from });
          if (reply.kind === 'found') proveBlob(parts, target, { digest, size: reply.value.total });
          return reply;
        },
      },
      placeKey(target),
    );
  }

  async function passed(request: BlobPull, reason: 'min-free' | 'spool-failed'): Promise<BlobAnswer> {
    const { target, digest, ranges } = request;
    const { upstream, repository } = target.place;
    parts.observe({ type: 'passed-through', upstream, repository, digest, reason });
    if (!ranges?.length) return passedWhole(parts, request);
    const { size } = await prove(target, digest, request.signal);
    const [first, ...others] = size === undefined ? [] : satisfiableRanges(ranges, size);
    return size === undefined || !first
      ? passedWhole(parts, request)
      : passedParts(parts, request, { size, ranges: [first, ...others] });
  }
}

const placeKey = ({ place }: Target) => `${place.scope}/${place.repository}`;

function isLocal(error: unknown): error is { code: 'storage-full' | 'storage-failed' } {
  return isProxyCacheError(error) && (error.code === 'storage-full' || error.code === 'storage-failed');
}

function headAnswer({ digest }: BlobPull, { size }: { size?: number | undefined }): BlobAnswer {
  return {
    digest,
    ...(size !== undefined && { size }),
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200 },
    read: () => {
      throw new Error('the answer to a HEAD has no bytes');
    },
    close: async () => undefined,
  };
}
