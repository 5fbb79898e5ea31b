import type { ByteRange } from '../runtime/byte-range.ts';
import { discard } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { byDeadline } from '../upstream/by-deadline.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { isUpstreamError, UpstreamError } from '../upstream/upstream-error.ts';
import type { Span } from './spans.ts';

/** Asks an upstream for a part of a blob: each time anew, with a fresh token and by fresh redirects. */
export type FetchPart = (part: ByteRange, signal: AbortSignal, ifMatch?: string) => Promise<Reply<FetchedBlob>>;

/** A blob whose parts are asked for, as its first answer told of it. */
export interface SegmentedBlob {
  /** The upstream's key. */
  upstream: string;
  total: number;
  validator: string;
  fetch: FetchPart;
}

/** A stretch of a blob that one connection brings. */
export interface Piece extends Span {
  /** The next byte to come. */
  at: number;
  /** Whether the upstream has begun to send just that. */
  isBegun: boolean;
}

/** What bringing a piece works with. */
export interface PieceParts {
  clock: Clock;
  /** Puts bytes where they belong, in the order they came; resolves when they can be read. */
  place(chunks: readonly Uint8Array[], position: number): Promise<void>;
  came(bytes: number): void;
  /** The piece has got on: it was begun, or more of it can be read. */
  moved(): void;
  /** Whether somebody waits for the next byte. */
  isAwaited(): boolean;
  signal: AbortSignal;
}

/**
 * How it ended. `refused`: the upstream does not give parts of this blob, or not now, or what it gives is not of the same
 * content as what it began to send; `broke`: the piece broke off, what is left of it may be asked for again.
 */
export type PieceEnd =
  | { kind: 'brought' }
  | { kind: 'broke'; error: UpstreamError }
  | { kind: 'refused'; why: string; retryAt?: number };

/** One that takes longer to answer is no help. */
const beginWithinMs = 10_000;
/** Written at once, unless somebody waits for it. */
const batchBytes = 256 * 1024;

/**
 * Brings one piece. Only an answer that is just that part of the same content is taken.
 *
 * @throws the signal's reason, what `place` throws
 */
export async function bringPiece(piece: Piece, blob: SegmentedBlob, parts: PieceParts): Promise<PieceEnd> {
  const { upstream } = blob;
  let body: FetchedBlob['body'];
  try {
    const reply = await ask(piece, blob, parts);
    const why = wrongIn(reply, piece, blob);
    if (why !== undefined || reply.kind !== 'found') {
      if (reply.kind === 'found') await discard(reply.value.body);
      return { kind: 'refused', why: `${upstream} ${why}` };
    }
    body = reply.value.body;
  } catch (error) {
    return endOf(error, parts.signal);
  }
  if (parts.signal.aborted) {
    await discard(body);
    throw parts.signal.reason;
  }
  piece.isBegun = true;
  parts.moved();
  try {
    return await receive(piece, body, { ...parts, upstream });
  } finally {
    await discard(body);
  }
}

async function ask(piece: Piece, blob: SegmentedBlob, { clock, signal }: PieceParts): Promise<Reply<FetchedBlob>> {
  const { upstream, validator, fetch } = blob;
  const part = { from: piece.from, to: piece.end - 1 };
  const deadlineAt = clock.monotonic() + beginWithinMs;
  const late = () => new UpstreamError('timeout', `${upstream} did not begin a part in time`, { upstream });
  let asked: Promise<Reply<FetchedBlob>> | undefined;
  try {
    return await byDeadline({ deadlineAt, signal }, { clock, late }, (own) => {
      asked = fetch(part, own, validator);
      return asked;
    });
  } catch (error) {
    asked?.then(
      (reply) => (reply.kind === 'found' ? discard(reply.value.body) : undefined),
      () => undefined,
    );
    throw error;
  }
}

function wrongIn(reply: Reply<FetchedBlob>, piece: Piece, { total, validator }: SegmentedBlob): string | undefined {
  if (reply.kind !== 'found') return `said of a part that it is ${reply.kind}`;
  const { start, total: said, validator: saidValidator } = reply.value;
  if (start !== piece.from) return 'sent the whole where a part was asked for';
  if (said !== total) return `told of ${total} bytes, and then of ${said ?? 'an unknown number'}`;
  return saidValidator === validator ? undefined : 'sent a part of something else';
}

async function receive(
  piece: Piece,
  body: FetchedBlob['body'],
  parts: PieceParts & { upstream: string },
): Promise<PieceEnd> {
  const { upstream, signal } = parts;
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;

  async function write(): Promise<void> {
    if (waitingBytes === 0) return;
    const [chunks, bytes] = [waiting, waitingBytes];
    waiting = [];
    waitingBytes = 0;
    await parts.place(chunks, piece.at);
    piece.at += bytes;
    parts.moved();
  }

  let broke: UpstreamError | undefined;
  const source = body[Symbol.asyncIterator]();
  while (piece.at + waitingBytes < piece.end && !broke) {
    try {
      const { done, value } = await source.next();
      if (done) broke = new UpstreamError('unreachable', `${upstream} ended a part too early`, { upstream });
      else {
        const chunk = value.subarray(0, piece.end - piece.at - waitingBytes);
        waiting.push(chunk);
        waitingBytes += chunk.byteLength;
        parts.came(value.byteLength);
      }
    } catch (error) {
      if (signal.aborted || !isUpstreamError(error)) throw error;
      broke = error;
    }
    signal.throwIfAborted();
    if (broke || waitingBytes >= batchBytes || parts.isAwaited()) await write();
  }
  await write();
  if (broke && piece.at < piece.end) return { kind: 'broke', error: broke };
  // A connection whose answer was read to its end is used again.
  if (!broke) await source.next().catch(() => undefined);
  return { kind: 'brought' };
}

/** @throws what is neither the upstream's failure nor its refusal */
function endOf(error: unknown, signal: AbortSignal): PieceEnd {
  if (signal.aborted || !isUpstreamError(error)) throw error;
  const { code, message: why, retryAt } = error;
  // As much as one connection is given: others, and the next one, are for what cannot do without.
  if (code === 'rate-limited') return { kind: 'refused', why, ...(retryAt !== undefined && { retryAt }) };
  const refuses = code === 'credentials-rejected' || code === 'address-refused' || code === 'foreign-answer';
  return refuses ? { kind: 'refused', why } : { kind: 'broke', error };
}
