import type { Bytes } from '../runtime/bytes.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slabs } from '../runtime/slabs.ts';
import { takenBytes } from '../runtime/taken-bytes.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { FetchPart } from './segment.ts';
import type { SegmentLink } from './segment-link.ts';
import { createSegments } from './segments.ts';
import type { SpoolFile } from './spool-file.ts';
import { type SteadyParts, type SteadyRequest, steadyBody } from './steady-body.ts';

/** How a blob's transfer may have segments. */
export interface SegmentRules {
  /** The upstream's link, which all transfers from there share. */
  link: SegmentLink;
  fetch: FetchPart;
  /** Whether all hosts of the upstream are well. */
  isCalm(): boolean;
}

/** What a {@link segmentedBody} is of. */
export interface SegmentedRequest
  extends Pick<SteadyRequest, 'upstream' | 'repository' | 'digest' | 'withinMs' | 'signal'>,
    SegmentRules {
  /** What its segments bring is put into this file, at its place. */
  file: SpoolFile;
}

/** What a {@link segmentedBody} works with. */
export type SegmentedParts = SteadyParts & { slabs: Slabs };

/** What is left of a piece that broke off has so long at least, however short other transfers' patience is. */
const leastWithinMs = 10_000;

/**
 * The same body, whole and from byte 0 on, that other connections help to bring: each brings pieces of its end into the
 * file, while the first one goes on from the beginning, as ever. Where that one arrives at what is there already, it is
 * closed, and the rest is read from the file. Until then it is never missed: whatever befalls the others, it brings the
 * rest.
 *
 * @param first a steady body of the whole blob
 * @throws from `next()`: what `first` throws; ProxyCacheError `storage-failed`; the signal's reason
 */
export function segmentedBody(first: FetchedBlob, request: SegmentedRequest, parts: SegmentedParts): Bytes {
  const { upstream, repository, digest, withinMs, link, file, fetch, isCalm, signal } = request;
  const { clock, observe, slabs } = parts;
  const { validator, total = Number.POSITIVE_INFINITY } = first;
  // Without a validator nobody could tell whether parts are of the same content, and without a size where the end is.
  const maySplit = validator !== undefined && total >= link.minSize && total !== Number.POSITIVE_INFINITY;
  const left = new AbortController();
  const ending = AbortSignal.any([signal, left.signal]);
  let line: AsyncIterator<Uint8Array> | undefined = first.body[Symbol.asyncIterator]();
  /** What it has brought beyond what was taken of it: a copy, as the memory of a chunk is its taker's as a whole. */
  let held: Uint8Array | undefined;
  let position = 0;

  const place = link.enter({
    connections: () => (line ? 1 : 0) + segments.bringing(),
    segments: () => segments.count(),
    open: () => maySplit && segments.open(),
    close: () => segments.closeLast(),
  });
  const segments = createSegments(
    { upstream, repository, digest, total, validator: validator ?? '', fetch },
    { clock, file, link: place, isCalm, observe, slabs, awaited: () => position, signal: ending },
  );

  async function take(): Promise<Uint8Array | undefined> {
    for (;;) {
      ending.throwIfAborted();
      if (segments.failure) throw segments.failure;
      const takenFrom = segments.coverage.takenFrom(position);
      if (line && takenFrom === position) await meet();
      else if (line) {
        const chunk = await fromLine(line);
        if (chunk) return chunk;
      } else if (position >= total) return undefined;
      else if (file.placed.endFrom(position) > position) return await readBack(file.placed.endFrom(position));
      else if (segments.coverage.isComing(position)) await segments.changed();
      else line = goOn(Math.min(takenFrom, total) - 1);
      if (!line && position >= total) return undefined;
    }
  }

  /** The first connection has come to what others brought. */
  async function meet(): Promise<void> {
    const rest = segments.fill(position);
    if (rest === 'covered') await closeLine();
    if (rest === 'filling') await segments.changed();
    if (rest !== 'missing') return;
    // Some of the rest nobody else brings: it goes on as if there were no others.
    await segments.close();
    file.forget();
  }

  /** The next bytes of the first connection, as far as nobody else has brought them. */
  async function fromLine(source: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
    let value = held;
    held = undefined;
    if (!value) {
      const next = await source.next();
      if (next.done) {
        line = undefined;
        // One of unknown size ends where it ends.
        if (total === Number.POSITIVE_INFINITY) position = total;
        return undefined;
      }
      value = next.value;
      place.came(value.byteLength);
    }
    const chunk = value.subarray(0, segments.coverage.takenFrom(position) - position);
    if (chunk.byteLength < value.byteLength) held = Uint8Array.from(value.subarray(chunk.byteLength));
    position += chunk.byteLength;
    segments.passed(position);
    return chunk.byteLength > 0 ? chunk : undefined;
  }

  async function closeLine(): Promise<void> {
    const closing = line;
    line = undefined;
    held = undefined;
    await closing?.return?.();
  }

  /** Asks for what is left of a piece, up to the byte `to`. */
  function goOn(to: number): AsyncIterator<Uint8Array> {
    const error = new UpstreamError('unreachable', `${upstream} broke off a part of ${digest}`, { upstream });
    const broken = { ...first, start: position, body: failed(error) };
    const rest: SteadyRequest = {
      upstream,
      repository,
      digest,
      from: position,
      to,
      withinMs: Math.max(withinMs, leastWithinMs),
      firstByteAt: Number.POSITIVE_INFINITY,
      fetch: (from, asked, ifMatch) => fetch({ from, to }, asked, ifMatch),
      signal,
    };
    return steadyBody(broken, rest, parts)[Symbol.asyncIterator]();
  }

  async function readBack(end: number): Promise<Uint8Array> {
    // It comes back by whoever the bytes are given to.
    const memory = slabs.take();
    const into = memory.subarray(0, end - position);
    let count: number;
    try {
      count = await file.read(into, position);
      if (count === 0) throw new Error(`it ends at byte ${position}`);
    } catch (cause) {
      throw new ProxyCacheError('storage-failed', `cannot read the spool: ${(cause as Error).message}`, { cause });
    }
    position += count;
    return into.subarray(0, count);
  }

  return takenBytes(take, {
    left,
    async close() {
      await Promise.all([closeLine(), segments.close()]);
      place.leave();
    },
  });
}

function failed(error: Error): Bytes {
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) };
}
