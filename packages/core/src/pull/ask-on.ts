import { createResumePace } from '../ingest/resume-pace.ts';
import { isFinal } from '../ingest/steady-body.ts';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { isUpstreamError, UpstreamError } from '../upstream/upstream-error.ts';

/** What {@link askOn} keeps to. */
export interface AskOnLimits {
  upstream: string;
  clock: Clock;
  /** How long it may go on, in ms. */
  withinMs: number;
  signal: AbortSignal;
}

/**
 * Asks for the rest of what a client has begun to get: it could be told of a failure by nothing but a broken body. So it
 * is asked for at the pace of a transfer that broke off, at once and then after random waits, as many may ask together.
 *
 * @throws what was said last, once it is given up; the signal's reason
 */
export async function askOn(
  fetch: () => Promise<Reply<FetchedBlob>>,
  { upstream, clock, withinMs, signal }: AskOnLimits,
): Promise<Reply<FetchedBlob>> {
  const pace = createResumePace(clock, { withinMs, firstByteAt: Number.POSITIVE_INFINITY, random: Math.random });
  const refusal = new UpstreamError('server-error', `${upstream} has it no longer`, { upstream });
  // The first turn is now, and the time counts from it.
  pace.next(refusal, 0);
  for (let refusals = 0; ; ) {
    const reply = await fetch().catch((error: unknown) => {
      signal.throwIfAborted();
      if (!isUpstreamError(error) || isFinal(error)) throw error;
      return error;
    });
    const isReply = !isUpstreamError(reply);
    // As of a body that broke off, a refusal is believed when it is said twice: members of one registry may lag behind.
    if (isReply && (reply.kind === 'found' || refusals++ > 0)) return reply;
    const turn = pace.next(isReply ? refusal : reply, 0);
    if (!turn && isReply) return reply;
    if (!turn) throw reply;
    await pause(turn.waitMs, clock, signal);
  }
}
