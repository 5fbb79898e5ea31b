import type { Clock } from '../runtime/clock.ts';
import { parseDuration } from '../runtime/duration.ts';
import { askHook } from './ask-hook.ts';
import type { AccessFailedEvent } from './events.ts';
import type { AccessQuestion, AccessRequest, AccessSettings, ChallengeQuestion, Identity, Verdict } from './hooks.ts';
import { readChallenges, readIdentity, readVerdict } from './read-hook.ts';
import { createVisit } from './visit.ts';
import { withoutCredentials } from './without-credentials.ts';

/** The hooks as one request asks them. Each rejects as {@link askHook} says. */
export interface Visitor {
  /** As all hooks see it. */
  request: AccessRequest;
  authenticate(): Promise<Identity | undefined>;
  authorize(question: Omit<AccessQuestion, 'request'>): Promise<Verdict>;
  /** The values of `WWW-Authenticate`, none where nothing that could be brought would help. */
  challenges(question: Omit<ChallengeQuestion, 'request'>): Promise<readonly string[]>;
}

// RFC 7617: what every client knows.
const defaultChallenge = 'Basic realm="proxycache"';

/** Makes what asks the hooks for one request after the other. */
export function createAccess(
  { authenticate, authorize, challenge, within }: AccessSettings,
  told: { clock: Clock; observe(event: AccessFailedEvent): void },
): (request: AccessRequest) => Visitor {
  const parts = { ...told, withinMs: parseDuration(within) };
  return (request) => {
    // At once: where the host cannot say what it knows, no hook has failed.
    const { context } = request;
    const visit = createVisit(request, () => context);
    const waiting = { visit, client: () => request.signal };
    return {
      request: visit.request,
      async authenticate() {
        if (!authenticate) return undefined;
        const refusesBy = ['unauthenticated', 'too-many-requests'] as const;
        return askHook({ hook: 'authenticate', call: authenticate, read: readIdentity, refusesBy }, waiting, parts);
      },
      async authorize(question) {
        if (!authorize) return { allow: true };
        const call = (seen: AccessRequest) => authorize({ ...question, request: seen });
        const verdict = await askHook({ hook: 'authorize', call, read: readVerdict }, waiting, parts);
        return verdict.allow ? verdict : { ...verdict, reason: withoutCredentials(verdict.reason, request) };
      },
      async challenges(question) {
        if (!challenge) return authenticate ? [defaultChallenge] : [];
        const call = (seen: AccessRequest) => challenge({ ...question, request: seen });
        return askHook({ hook: 'challenge', call, read: readChallenges }, waiting, parts);
      },
    };
  };
}
