import type { Digest } from '../oci/digest.ts';
import type { Buffers } from '../runtime/buffers.ts';
import { type Bytes, discard } from '../runtime/bytes.ts';
import { createDeferred } from '../runtime/deferred.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { StoreDisk } from '../store/pull-storage.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { isUpstreamError, UpstreamError } from '../upstream/upstream-error.ts';
import { askedBeside } from './asked-beside.ts';
import { createBlobRoom, type Roomy } from './blob-room.ts';
import type { IngestEvent } from './events.ts';
import { visibleBytes } from './follower.ts';
import { holdOf, type IngestHold } from './ingest-hold.ts';
import { isLocal } from './is-local.ts';
import type { Permission } from './leader.ts';
import { mismatch } from './mismatch.ts';
import type { SpareTransfer } from './precedence.ts';
import { type SegmentRules, segmentedBody } from './segmented-body.ts';
import type { Spool } from './spool.ts';
import type { SpoolFile } from './spool-file.ts';
import { createSpooling, type Spooling, type SpoolingParts } from './spooling.ts';
import { type FetchFrom, type SteadyParts, steadyBody } from './steady-body.ts';

/** What to bring in, and how to ask for it. */
export interface IngestRequest extends Roomy {
  /** The upstream's key. */
  upstream: string;
  repository: string;
  digest: Digest;
  fetch: FetchFrom;
  /** Default: one connection brings it. */
  segments?: SegmentRules | undefined;
  /** Writes down whose blob it is, once it was found right. It counts as stored only then: a crash must not part the two. */
  prove?(size: number): Promise<void>;
  /** How long a transfer that broke off may bring nothing new, in ms. */
  resumeWithinMs: number;
  /** To its first byte, in ms, however often it is asked for. */
  firstByteWithinMs: number;
  /** Whether the upstream is known not to answer now. Default: never. */
  isDown?: () => boolean;
  /** Given where nobody asked for it yet. */
  spare?: SpareTransfer;
  /** The store has it, and cannot give it right: it counts as not there. Default false. */
  storeFailed?: boolean;
  /** Default: none, so that what another process fetches is not taken. */
  permission?: Permission;
}

/** One upstream transfer of one blob; see {@link createIngest}. */
export interface Ingest {
  /**
   * What the upstream said. Rejects with its UpstreamError, or with ProxyCacheError `storage-full` or `storage-failed`
   * when the blob cannot be spooled.
   */
  readonly reply: Promise<Reply<{ total: number | undefined }>>;
  /** Resolves when the digest was found right; rejects with what went wrong. */
  readonly verified: Promise<void>;
  /** Resolves when the store has it, or the ingest failed. Never rejects. */
  readonly ended: Promise<void>;
  /** Bytes that have come so far. */
  received(): number;
  /** How many bytes from the start may be read by now. */
  releasable(): number;
  /** Keeps what has come, and comes, readable until `release()`; `undefined` before `reply` and once it has ended. */
  hold(): IngestHold | undefined;
}

/** What an ingest works with. */
export interface IngestParts extends SteadyParts, Omit<SpoolingParts, 'unclosed' | 'signal' | 'clock'> {
  spool: Spool;
  /** Default: it is the spool's, or not known. */
  storeDisk?: StoreDisk | undefined;
  blobs: BlobStore;
  /** Whether a blob that was adopted still waits for the store. Default: none does. */
  isWaiting?: (digest: Digest) => boolean;
  buffers: Buffers;
  observe(event: IngestEvent | StoreEvent): void;
}

/**
 * Brings one blob in: spooled at the upstream's speed, hashed as it comes, adopted by the store once its digest was
 * found right. Who reads it is nothing to it; only `signal` ends it.
 */
export function createIngest(request: IngestRequest, parts: IngestParts, signal: AbortSignal): Ingest {
  const { upstream, repository, digest } = request;
  const { clock, observe } = parts;
  const startedAt = clock.monotonic();
  const room = createBlobRoom(parts, request, signal);
  const reply = createDeferred<Reply<{ total: number | undefined }>>();
  const verified = createDeferred<void>();
  let file: SpoolFile | undefined;
  let spooling: Spooling | undefined;
  let came: number | undefined;

  observe({ type: 'ingest-started', upstream, repository, digest, ...(request.spare && { prefetch: true }) });
  const ended = run();

  async function run(): Promise<void> {
    let outcome: 'stored' | 'queued' | 'unstored' | 'refused' | 'failed' = 'failed';
    let error: unknown;
    try {
      const making = make();
      const answer = await askedBeside(making, ask, { atOnce: room.seemsReady(), signal });
      file = await making;
      if (answer.kind !== 'found') {
        outcome = 'refused';
        reply.resolve(answer);
        throw new Error(`${upstream} has no ${digest} for ${repository}`);
      }
      spooling = createSpooling(file, digest, { ...parts, signal, unclosed: untidied });
      await receive(spooling, answer.value);
      const told = spooling.verify();
      verified.resolve();
      await told;
      const proven = request.prove?.(received());
      outcome = await adopt(file.path, received());
      await proven?.catch((cause) => observe(storeFailed('metadata-set', digest, cause)));
    } catch (cause) {
      error = cause;
      came = received();
      if (isLocal(cause)) spooling?.abandon(cause);
      else spooling?.fail(cause);
      reply.reject(cause);
      verified.reject(cause);
    }
    await tidy(outcome);
    observe({
      type: 'ingest-ended',
      upstream,
      repository,
      digest,
      outcome,
      bytes: received(),
      durationMs: clock.monotonic() - startedAt,
      ...(outcome === 'failed' && { error: error instanceof Error ? error.message : String(error) }),
    });
  }

  function received(): number {
    return came ?? spooling?.view.state().contiguous ?? 0;
  }

  /** A file with room for what is known of the blob. */
  async function make(): Promise<SpoolFile> {
    file = await parts.spool.create(signal);
    await room.claimKnown(file);
    return file;
  }

  async function ask(until = signal): Promise<Reply<FetchedBlob>> {
    signal.throwIfAborted();
    const firstByteAt = clock.monotonic() + request.firstByteWithinMs;
    const answer = await request.fetch(0, until);
    if (answer.kind !== 'found') return answer;
    if (answer.value.start !== 0) {
      await discard(answer.value.body);
      throw new UpstreamError('foreign-answer', `${upstream} sent a part of ${digest} where all was asked for`, {
        upstream,
      });
    }
    const { resumeWithinMs: withinMs, fetch } = request;
    const rest = { upstream, repository, digest, from: 0, withinMs, firstByteAt, fetch, signal };
    return { kind: 'found', value: { ...answer.value, body: steadyBody(answer.value, rest, parts) } };
  }

  async function receive(into: Spooling, first: FetchedBlob): Promise<void> {
    const body = inSegments({ ...first, body: await prepare(into, first) });
    reply.resolve({ kind: 'found', value: { total: into.view.total } });
    const wrong = await wrongIn(into, body, 'it is asked for once more');
    if (!wrong) return;
    // SEMANTICS 18: whoever has no wrong byte yet can still be given the right ones.
    observe({ type: 'ingest-restarted', upstream, repository, digest, error: wrong.message });
    await into.restart(another, wrong);
    const again = await ask();
    if (again.kind !== 'found') throw wrong;
    const second = await prepare(into, again.value);
    const still = await wrongIn(into, second, 'nothing was stored, the next pull asks again');
    if (still) throw still;
  }

  function inSegments(first: FetchedBlob): Bytes {
    const { segments, resumeWithinMs: withinMs } = request;
    if (!segments || !file) return first.body;
    return segmentedBody(first, { ...segments, upstream, repository, digest, withinMs, file, signal }, parts);
  }

  /** Takes a body in; what is wrong with it, if anything. */
  async function wrongIn(into: Spooling, body: Bytes, next: string): Promise<UpstreamError | undefined> {
    try {
      const came = await into.fill(body);
      const isRight = came.digest === digest && came.size === into.view.state().contiguous;
      return isRight ? undefined : mismatch(request, { ...came, total: into.view.total }, next);
    } catch (error) {
      // That an upstream tells of another number of bytes than it began to send is a wrong digest before its end.
      if (isUpstreamError(error) && error.code === 'digest-mismatch') return error;
      throw error;
    }
  }

  /** A file in the place of the one that got wrong bytes, which is open for a while but nowhere to be found. */
  async function another(): Promise<SpoolFile> {
    if (file) parts.spool.release(file);
    await reported(file?.remove());
    file = await parts.spool.create(signal);
    return file;
  }

  /** Makes ready for all of a body, from byte 0 on; where it cannot be taken in, it is closed. */
  async function prepare(into: Spooling, found: FetchedBlob): Promise<Bytes> {
    into.expect(found.total);
    return await room.given(found, file);
  }

  async function adopt(path: string, size: number): Promise<'stored' | 'queued' | 'unstored'> {
    try {
      await parts.blobs.adopt({ file: path, digest, size, signal });
      return parts.isWaiting?.(digest) ? 'queued' : 'stored';
    } catch (cause) {
      observe(storeFailed('adopt', digest, cause));
      return 'unstored';
    }
  }

  async function tidy(outcome: string): Promise<void> {
    if (file) parts.spool.release(file);
    const removed = outcome === 'stored' || outcome === 'queued' ? undefined : reported(file?.remove());
    const closed = spooling ? spooling.release() : file?.close();
    await Promise.all([removed, reported(closed)]);
    room.release(outcome === 'stored' ? received() : 0);
  }

  async function reported(tidying: Promise<void> | undefined): Promise<void> {
    await tidying?.catch(untidied);
  }

  function untidied(cause: unknown): void {
    observe(storeFailed('tidy', digest, cause));
  }

  return {
    reply: reply.promise,
    verified: verified.promise,
    ended,
    received,
    releasable: () => (spooling ? visibleBytes(spooling.view) : 0),
    hold: () => (spooling?.isOpen() ? holdOf(spooling.view, parts.buffers) : undefined),
  };
}
