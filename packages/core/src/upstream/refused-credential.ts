import type { Deadline } from './by-deadline.ts';
import type { Denial, Question } from './question.ts';
import type { Rejections } from './rejection.ts';
import type { TokenRequest, Tokens } from './token.ts';

/** A 401 to a credential. */
export interface RefusedCredential {
  generation: number;
  host: string;
  /** Tries the credential where no repository matters. */
  isGood(): Promise<boolean>;
}

/**
 * Tells what a 401 to a credential means. Some say it of what an account may not see: where a credential that was taken a
 * moment ago is still good for something else, this repository is denied, and no other has to wait.
 *
 * @throws what {@link Rejections.rejected} gives
 */
export async function judgeRefused(
  question: Question,
  { generation, host, isGood }: RefusedCredential,
  rejections: Rejections,
): Promise<Denial> {
  const wasTaken = rejections.wasTaken(question, generation);
  if (wasTaken && question.repository !== undefined && (await isGood())) {
    return { kind: 'denied', status: 401, message: 'the credential is good, but not for this repository' };
  }
  throw rejections.rejected(question, generation, host);
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
