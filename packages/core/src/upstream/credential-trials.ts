import type { Clock } from '../runtime/clock.ts';
import { createFlights } from '../runtime/collapse.ts';
import { byDeadline, type Deadline } from './by-deadline.ts';
import type { Denial, Question } from './question.ts';
import type { Rejections } from './rejection.ts';
import type { TokenRequest, Tokens } from './token.ts';
import { UpstreamError } from './upstream-error.ts';

/** A 401 to a credential. */
export interface RefusedCredential {
  generation: number;
  host: string;
  /** {@link CredentialTrials.passed} of when it was asked. */
  since: number;
  /** Tries the credential where no repository matters. Rejects where that could not say. */
  isGood(wait: Deadline): Promise<boolean>;
}

/** Tells what 401s to the credential of one upstream mean. */
export interface CredentialTrials {
  /** How many trials a credential has passed so far. */
  passed(): number;
  /**
   * Some say 401 of what an account may not see: where a credential that was taken a moment ago is still good for
   * something else, this repository is denied, and no other has to wait. It is tried once for all that are refused meanwhile.
   *
   * @throws what {@link Rejections.rejected} gives; where the trial could not say, UpstreamError, and nothing is rejected
   */
  judge(question: Question, refused: RefusedCredential): Promise<Denial>;
}

// Each who waits for a trial has a limit of its own besides.
const within = 10_000;

/** Makes the trials of one upstream's credential. */
export function createCredentialTrials(parts: { key: string; clock: Clock; rejections: Rejections }): CredentialTrials {
  const { key, clock, rejections } = parts;
  const trials = createFlights<boolean>();
  /** By scope, what passed last, and {@link CredentialTrials.passed} of then. */
  const lastPassed = new Map<string, { generation: number; count: number }>();
  let passed = 0;

  async function run(question: Question, refused: RefusedCredential, signal: AbortSignal): Promise<boolean> {
    const { generation } = refused;
    try {
      const isGood = await refused.isGood({ deadlineAt: clock.monotonic() + within, signal });
      if (isGood) lastPassed.set(question.scope, { generation, count: ++passed });
      return isGood;
    } catch (error) {
      // Nothing is known: whoever is refused next has it tried again.
      rejections.worked(question, generation);
      throw error;
    }
  }

  async function isGood(question: Question, refused: RefusedCredential): Promise<boolean> {
    const { generation, since } = refused;
    // The ping is such a trial itself.
    if (question.repository === undefined) return false;
    const last = lastPassed.get(question.scope);
    // It was good after this was asked.
    if (last?.generation === generation && since < last.count) return true;
    const name = `${question.scope} ${generation}`;
    if (!trials.has(name) && !rejections.wasTaken(question, generation)) return false;
    const late = () =>
      new UpstreamError('timeout', `${key}: it was not known in time whether its credential is good`, {
        upstream: key,
      });
    return await byDeadline(question, { clock, late }, (signal) =>
      trials.join(name, (joint) => run(question, refused, joint), signal),
    );
  }

  return {
    passed: () => passed,
    async judge(question, refused) {
      if (await isGood(question, refused)) {
        return { kind: 'denied', status: 401, message: 'the credential is good, but not for this repository' };
      }
      throw rejections.rejected(question, refused.generation, refused.host);
    },
  };
}

/** Whether a token service takes the credential of a request now, where no repository matters. */
export async function givesAnyToken(tokens: Tokens, request: TokenRequest, wait: Deadline): Promise<boolean> {
  const bare = { ...request, scope: '' };
  const known = await tokens.get(bare, wait);
  if (known.kind !== 'token' || !known.cached) return known.kind === 'token';
  // One from before says nothing of now.
  tokens.drop(bare, known.token);
  return (await tokens.get(bare, wait)).kind === 'token';
}
