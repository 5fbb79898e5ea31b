import { steadyBody } from '../ingest/steady-body.ts';
import { verifiedStream } from '../ingest/verified-stream.ts';
import type { Digest } from '../oci/digest.ts';
import type { ByteRange, RangeSpec } from '../runtime/byte-range.ts';
import { type Bytes, begun, discard } from '../runtime/bytes.ts';
import { isUpstreamError, UpstreamError } from '../upstream/upstream-error.ts';
import { type BlobAnswer, unverifiedDetail } from './answer.ts';
import { askOn } from './ask-on.ts';
import { blobFetch } from './blob-fetch.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import type { Target } from './target.ts';

/** What the bytes are asked for by. */
export interface PassedPull {
  target: Target;
  digest: Digest;
  /** `clock.monotonic()` ms at which whoever asks began to wait. Default: when the upstream is asked. */
  since?: number | undefined;
  /** The parts that the client asked for; none: the whole. */
  ranges?: readonly RangeSpec[] | undefined;
  signal: AbortSignal;
}

/**
 * A request of its own to the upstream, for bytes that are passed on and stored nowhere; it goes on where it breaks off.
 *
 * @param asked.takesOver whether the client has got a part of them already: then the first request is retried, too
 */
export async function fetchFor(
  parts: PullParts,
  request: PassedPull,
  asked: { from?: number; to?: number; since?: number | undefined; takesOver?: boolean; signal: AbortSignal },
): Promise<{ total?: number; body: Bytes }> {
  const { target, digest } = request;
  const { from = 0, to, since, takesOver = false, signal } = asked;
  const { blobWithinMs, resumeWithinMs: withinMs } = target.upstream;
  const { upstream, repository } = target.place;
  const { clock } = parts;
  const fetch = blobFetch(parts, { target, digest, since }, to);
  const firstByteAt = takesOver ? clock.monotonic() + withinMs : (since ?? clock.monotonic()) + blobWithinMs;
  const ask = () => fetch(from, signal);
  const reply = await (takesOver ? askOn(ask, { upstream, clock, withinMs, signal }) : ask());
  if (reply.kind !== 'found') throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
  // No proof: nobody has verified what comes, and nothing of it stays here.
  const { total } = reply.value;
  if (to !== undefined && total !== undefined && total <= to) {
    // The repository said another size before, or there would be no such part.
    await discard(reply.value.body);
    const message = `${upstream} now has ${total} bytes for ${digest} of ${repository}, too few for the part asked for`;
    throw new UpstreamError('foreign-answer', message, { upstream });
  }
  const rest = { upstream, repository, digest, from, to, withinMs, firstByteAt, fetch, signal };
  return { ...(total !== undefined && { total }), body: steadyBody(reply.value, rest, parts) };
}

/** SEMANTICS 18: wrong bytes of which none has left cost one more request, not the pull. */
export async function secondChance<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!isUpstreamError(error) || error.code !== 'digest-mismatch') throw error;
    return await open();
  }
}

/** The whole blob, verified as it passes: for when there is no room to keep it. */
export async function passedWhole(parts: PullParts, request: PassedPull): Promise<BlobAnswer> {
  const { target, digest } = request;
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  const { total, stream } = await secondChance(async () => {
    const { total, body } = await fetchFor(parts, request, { signal });
    // A small blob is held back whole: that it is wrong is known before the status.
    const stream = await begun(verifiedStream(body, { upstream: target.place.upstream, digest, total }));
    return { total, stream };
  });
  return {
    digest,
    ...(total !== undefined && { size: total }),
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200 },
    read: () => stream,
    async close() {
      left.abort();
      await discard(stream);
    },
  };
}

/**
 * Parts of a blob that is not here, as the upstream sends them: nobody can verify a part. Never stored from.
 *
 * @param wanted what the client asked for, of a blob of `size` bytes; one part or more
 */
export async function passedParts(
  parts: PullParts,
  request: PassedPull,
  wanted: { size: number; ranges: readonly [ByteRange, ...ByteRange[]] },
): Promise<BlobAnswer> {
  const { size, ranges } = wanted;
  const left = new AbortController();
  const signal = AbortSignal.any([request.signal, left.signal]);
  // Asked for before the status is sent, so that what the upstream says of it can still be told.
  let first: Bytes | undefined = await begun(await open(ranges[0], request.since));

  async function open(part: ByteRange, since?: number): Promise<Bytes> {
    return (await fetchFor(parts, request, { ...part, since, signal })).body;
  }

  async function* readPart(part: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    const body = first ?? (await open(part));
    first = undefined;
    yield* body;
  }
  return {
    digest: request.digest,
    size,
    cacheStatus: { hit: false, fwd: 'partial', fwdStatus: 206, detail: unverifiedDetail },
    parts: ranges,
    read: (part) => readPart(part ?? { from: 0, to: size - 1 }),
    async close() {
      left.abort();
      if (first) await discard(first);
    },
  };
}

/** The same in a passage of the upstream. @param leave gives it back once the answer is closed, or there is none */
export async function passedInPassage(leave: () => void, ...of: Parameters<typeof passedParts>): Promise<BlobAnswer> {
  try {
    const answer = await passedParts(...of);
    return { ...answer, close: () => answer.close().finally(leave) };
  } catch (error) {
    leave();
    throw error;
  }
}
