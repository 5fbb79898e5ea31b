import { afterRunning } from '../runtime/after-running.ts';
import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { parseDuration } from '../runtime/duration.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { redact } from '../upstream/redact.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import { createContext } from './admission-context.ts';
import type { AdmissionEvents } from './events.ts';
import type { FirstSeen } from './first-seen.ts';
import type { AdmissionSettings } from './hook.ts';
import { createPlaces } from './places.ts';
import { type Facet, type Question, referenceText } from './question.ts';
import { type Judgement, readDecision } from './read-decision.ts';

/** What judging takes. */
export interface JudgeParts {
  clock: Clock;
  firstSeen: FirstSeen;
  observe(event: AdmissionEvents): void;
}

/** A question, what the hook said to it, and what it looked at for that. */
export interface Evaluated {
  question: Question;
  judgement: Judgement;
  read: ReadonlySet<Facet>;
  /** Ms since the epoch. */
  at: number;
}

/** Hooks at once that are in time: each may hold a manifest, and 4 MiB of a config. What late ones hold is the host's. */
const mostAtOnce = 64;

/**
 * Asks the hook.
 *
 * @param otherwise until when a decision holds that does not say so itself
 * @throws ProxyCacheError `admission-failed` when it throws, is late or gives what is no decision: no failure lets
 *   anything pass; `manifest-unsupported`; the signal's reason
 */
export type Evaluate = (
  question: Question,
  rules: { otherwise(now: number): number },
  signal: AbortSignal,
) => Promise<Evaluated>;

export function createEvaluation(
  { admit, within }: Pick<AdmissionSettings, 'admit' | 'within'>,
  parts: JudgeParts,
): Evaluate {
  const { clock, firstSeen, observe } = parts;
  const withinMs = parseDuration(within);
  const places = createPlaces(mostAtOnce);

  /** What the hook gives, with the decision's instant. */
  async function ask(
    question: Question,
    read: Set<Facet>,
    signal: AbortSignal,
  ): Promise<{ given: unknown; at: number }> {
    const { namedAt = Number.POSITIVE_INFINITY } = question;
    const seen = firstSeen.of(question.place, question.digest, signal).then(
      (at) => ({ at: Math.min(at, namedAt) }),
      // An index named it then: it may be older than that, and is no younger.
      (error: unknown) => (namedAt === Number.POSITIVE_INFINITY ? { error } : { at: namedAt }),
    );
    const at = clock.now();
    const evidence = { firstSeen: await seen, now: at, signal };
    signal.throwIfAborted();
    return { given: await admit(createContext(question, evidence, read)), at };
  }

  return async (question, { otherwise }, signal) => {
    const startedAt = clock.monotonic();
    const { upstream, repository } = question.place;
    const about = { upstream, repository, reference: referenceText(question.reference), digest: question.digest };
    const read = new Set<Facet>();
    try {
      const { given, at } = await inTime({ clock, ms: withinMs, signal }, ({ ending, late }) =>
        // A hook may never settle, and its place is for others then.
        places.run(() => abortable(ask(question, read, ending), late), ending),
      );
      const judgement = readDecision(given, otherwise(at));
      const { kind: decision, until } = judgement;
      const reason = judgement.kind === 'allow' ? undefined : judgement.reason;
      const durationMs = clock.monotonic() - startedAt;
      observe({ type: 'admission', decision, ...about, ...(reason !== undefined && { reason }), until, durationMs });
      return { question, judgement, read, at };
    } catch (error) {
      signal.throwIfAborted();
      if (isProxyCacheError(error) && error.code === 'manifest-unsupported') throw error;
      const message = redact(error instanceof Error ? error.message : String(error));
      observe({ type: 'admission-failed', ...about, error: message, durationMs: clock.monotonic() - startedAt });
      // What an upstream could not say is told to clients elsewhere, too; a hook's own words may tell of its host.
      const why = isUpstreamError(error) ? `: ${message}` : '';
      throw new ProxyCacheError(
        'admission-failed',
        `it could not be decided whether ${referenceOf(about)} may be pulled${why}`,
        {
          cause: error,
        },
      );
    }
  };
}

const referenceOf = ({ repository, reference }: { repository: string; reference: string }) =>
  `${repository}${reference.includes(':') ? '@' : ':'}${reference}`;

/**
 * What the work gives, while somebody waits for it: `ending` fires when nobody does any more, `late` when its time is up,
 * also of work whose callers have all left.
 */
async function inTime<T>(
  { clock, ms, signal }: { clock: JudgeParts['clock']; ms: number; signal: AbortSignal },
  work: (signals: { ending: AbortSignal; late: AbortSignal }) => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const late = new AbortController();
  const leave = () => ending.abort(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  const cancel = afterRunning(clock, ms, () => {
    const reason = new Error(`not done within ${ms} ms`);
    ending.abort(reason);
    late.abort(reason);
  });
  const working = work({ ending: ending.signal, late: late.signal }).finally(cancel);
  try {
    return await abortable(working, ending.signal);
  } finally {
    signal.removeEventListener('abort', leave);
    ending.abort(new Error('over'));
  }
}
