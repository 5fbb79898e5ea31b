import type { Verdict } from '../freshness/settle.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Flights } from '../runtime/collapse.ts';
import { byDeadline } from '../upstream/by-deadline.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { Target } from './target.ts';

/** A question about manifests or lists, shared by all who have it at the same time. */
export interface JointQuestion<T> {
  target: Target;
  /** Who shares it: those with the same key. */
  key: string;
  signal: AbortSignal;
  /** Asks it, within the target's `manifestWithinMs` from then. */
  ask(signal: AbortSignal): Promise<T>;
}

/** Asks, or joins those who do. `collapsed`: joined. */
export type AskJointly<T> = (question: JointQuestion<T>) => Promise<{ reply: T; collapsed: boolean }>;

// With less time than this another question is in vain.
const leastLeftMs = 1_000;

/**
 * SEMANTICS 32: each waits from when its own client began to. Who joined a question that ran out of somebody else's time
 * asks once more, together with all others whom that befell. That one has the whole time, as those who come later join it
 * too; each leaves it when his own is over, and the last one ends it.
 *
 * @param failureOf why a reply is none, where that is not thrown
 */
export function createAskJointly<T>(
  flights: Flights<T>,
  clock: Clock,
  failureOf: (reply: T) => unknown = () => undefined,
): AskJointly<T> {
  function join({ key, ask }: JointQuestion<T>, signal: AbortSignal) {
    const collapsed = flights.has(key);
    return { collapsed, reply: flights.join(key, ask, signal) };
  }

  return async (question) => {
    const { target, signal } = question;
    const deadlineAt = clock.monotonic() + target.upstream.manifestWithinMs;
    const first = join(question, signal);
    const failure = first.collapsed ? await first.reply.then(failureOf, (error: unknown) => error) : undefined;
    const isTimeout = isUpstreamError(failure) && failure.code === 'timeout';
    if (!isTimeout || deadlineAt - clock.monotonic() < leastLeftMs) {
      return { reply: await first.reply, collapsed: first.collapsed };
    }
    return await byDeadline({ deadlineAt, signal }, { clock, late: () => failure }, async (own) => {
      const { collapsed, reply } = join(question, own);
      return { reply: await reply, collapsed };
    });
  };
}

/** Why nothing can be served by a verdict. */
export function failureOfVerdict({ verdict }: { verdict: Verdict<unknown> }): unknown {
  return verdict.kind === 'failed' ? verdict.error : undefined;
}
