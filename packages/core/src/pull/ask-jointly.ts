import type { Verdict } from '../freshness/settle.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Flights } from '../runtime/collapse.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { type Target, withManifestWithin } from './target.ts';

/** A question about manifests or lists, shared by all who have it at the same time. */
export interface JointQuestion<T> {
  target: Target;
  /** Who shares it: those with the same key. */
  key: string;
  signal: AbortSignal;
  /** Asks it, within the `manifestWithinMs` of the target that it is given. */
  ask(target: Target, signal: AbortSignal): Promise<T>;
}

/** Asks, or joins those who do. `collapsed`: joined. */
export type AskJointly<T> = (question: JointQuestion<T>) => Promise<{ reply: T; collapsed: boolean }>;

// With less time than this another question is in vain.
const leastLeftMs = 1_000;

/**
 * SEMANTICS 32: each waits from when its own client began to. Who joined a question that ran out of somebody else's time
 * asks once more in what is left of his own, together with all others whom that befell.
 *
 * @param failureOf why a reply is none, where that is not thrown
 */
export function createAskJointly<T>(
  flights: Flights<T>,
  clock: Clock,
  failureOf: (reply: T) => unknown = () => undefined,
): AskJointly<T> {
  function join({ key, signal, ask }: JointQuestion<T>, target: Target) {
    const collapsed = flights.has(key);
    return { collapsed, reply: flights.join(key, (signalOfAll) => ask(target, signalOfAll), signal) };
  }

  return async (question) => {
    const { target } = question;
    const deadlineAt = clock.monotonic() + target.upstream.manifestWithinMs;
    const first = join(question, target);
    const failure = first.collapsed ? await first.reply.then(failureOf, (error: unknown) => error) : undefined;
    const leftMs = deadlineAt - clock.monotonic();
    const asksAgain = isUpstreamError(failure) && failure.code === 'timeout' && leftMs >= leastLeftMs;
    const last = asksAgain ? join(question, withManifestWithin(target, leftMs)) : first;
    return { reply: await last.reply, collapsed: last.collapsed };
  };
}

/** Why nothing can be served by a verdict. */
export function failureOfVerdict({ verdict }: { verdict: Verdict<unknown> }): unknown {
  return verdict.kind === 'failed' ? verdict.error : undefined;
}
