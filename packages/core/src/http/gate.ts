import { createAccess, type Visitor } from '../access/access.ts';
import type { AccessEvent, PullEvent } from '../access/events.ts';
import type { AccessQuestion, AccessSettings, ChallengeQuestion, Identity } from '../access/hooks.ts';
import type { Asker } from '../admission/asker.ts';
import type { Clock } from '../runtime/clock.ts';
import { isProxyCacheError, ProxyCacheError } from '../runtime/errors.ts';
import { audited } from './audit.ts';
import type { Callers } from './callers.ts';
import type { RequestEvent } from './events.ts';
import type { HttpRequest, HttpResponse } from './message.ts';
import type { Route } from './route.ts';
import { scopeOf } from './scope.ts';

/** Who asks, once he was let in. */
export interface Caller {
  asker: Asker;
  /**
   * Lets a request that was let in to a group go on to a member of it.
   *
   * @throws as {@link Passage.enter}
   */
  goOn(route: NamedRoute, place: NamedPlace): Promise<void>;
  /** Whether `_catalog` shows him a repository. */
  shows(repository: { upstream: string; repository: string }): Promise<boolean>;
}

/** One request at the gate. */
export interface Passage {
  /** For a 401: what the client could bring. */
  challenges?: readonly string[];
  /**
   * Lets a request in, before anything is read or fetched for it.
   *
   * @param told gets what the request is about, also where it is refused
   * @throws ProxyCacheError `unauthenticated`, `denied`, `access-failed`; the signal's reason
   */
  enter(route: Route, told: About): Promise<Caller>;
  /** The response, of which audits are told once it is through. @param answer.refused why it is none that was wanted */
  leave(response: HttpResponse, answer: { told: Told; refused: ProxyCacheError | undefined }): HttpResponse;
}

/** Lets requests in. */
export interface Gate {
  /** Whether anybody is asked before an answer. */
  asks: boolean;
  audits: boolean;
  arrive(request: HttpRequest): Passage;
}

/** A repository as `authorize` knows it; `group`: its upstream is one. */
type NamedPlace = { upstream: string; repository: string; group?: string };

type About = Pick<RequestEvent, 'upstream' | 'repository' | 'group' | 'reference'>;
type Told = About & Pick<RequestEvent, 'kind' | 'cacheStatus'>;
type NamedRoute = Extract<Route, { name: string }>;

/** SEMANTICS 22: the hooks are asked on the repository that is meant, by whatever name and way it was asked for. */
export function createGate(
  settings: AccessSettings,
  parts: {
    /** What a request names, if it is served here. */
    placeOf(route: NamedRoute): NamedPlace | undefined;
    /** Whose credentials are for the upstream are nobody here. */
    callers: Pick<Callers, 'areAsked'>;
    clock: Clock;
    observe(event: AccessEvent): void;
  },
): Gate {
  const visitorOf = createAccess(settings, parts);

  function arrive(request: HttpRequest): Passage {
    const visitor = visitorOf(request);
    const startedAt = parts.clock.monotonic();
    let name: string | undefined;
    let isIn = false;
    const passage: Passage = { enter, leave };

    async function enter(route: Route, told: About): Promise<Caller> {
      const scope = scopeOf(route, request.url);
      const isElsewhere = parts.callers.areAsked(route);
      const identity = isElsewhere ? undefined : await authenticated(scope);
      name = identity?.name;
      if (!identity && !isElsewhere && !settings.anonymous) {
        throw await unauthenticated({ scope }, 'no credentials came with the request; log in first');
      }
      if ('name' in route) await admit(route, { told, identity, scope });
      isIn = true;
      return {
        asker: { identity, request: visitor.request },
        goOn: async (to, place) => {
          isIn = false;
          await authorize(to, { place, identity, scope });
          isIn = true;
        },
        shows: (found) => shows(visitor, identity, found),
      };
    }

    async function authenticated(scope: string | undefined): Promise<Identity | undefined> {
      try {
        return await visitor.authenticate();
      } catch (error) {
        if (!isProxyCacheError(error) || error.code !== 'unauthenticated') throw error;
        throw await unauthenticated({ scope, error: 'invalid_token' }, error.message);
      }
    }

    async function admit(
      route: NamedRoute,
      { told, identity, scope }: { told: About; identity: Identity | undefined; scope: string | undefined },
    ): Promise<void> {
      const place = parts.placeOf(route);
      // Told by whoever answers.
      if (!place) return;
      const tagOrDigest = tagOrDigestOf(route);
      const { upstream, repository, group } = place;
      Object.assign(told, { upstream, repository, ...(group !== undefined && { group }) });
      if (tagOrDigest !== undefined) told.reference = tagOrDigest;
      if (identity?.repositories && !identity.repositories.includes(route.name)) {
        const message = `these credentials are not good for ${route.name}`;
        throw await unauthenticated({ scope, error: 'insufficient_scope' }, message);
      }
      await authorize(route, { place, identity, scope });
    }

    async function authorize(
      route: NamedRoute,
      {
        place: { upstream, repository },
        identity,
        scope,
      }: { place: NamedPlace; identity: Identity | undefined; scope: string | undefined },
    ): Promise<void> {
      const tagOrDigest = tagOrDigestOf(route);
      const action = route.kind === 'manifest' || route.kind === 'blob' ? 'pull' : 'list';
      const asked = {
        identity,
        action,
        upstream,
        repository,
        ...(tagOrDigest !== undefined && { tagOrDigest }),
      } as const;
      const verdict = await visitor.authorize(asked);
      if (verdict.allow) return;
      const mayLogIn = !identity && !parts.callers.areAsked(route);
      if (mayLogIn) throw await unauthenticated({ scope }, verdict.reason, 'denied');
      throw new ProxyCacheError('denied', verdict.reason);
    }

    async function unauthenticated(
      question: Omit<ChallengeQuestion, 'request'>,
      message: string,
      otherwise: 'unauthenticated' | 'denied' = 'unauthenticated',
    ): Promise<ProxyCacheError> {
      passage.challenges = await visitor.challenges(question);
      return new ProxyCacheError(passage.challenges.length > 0 ? 'unauthenticated' : otherwise, message);
    }

    function leave(response: HttpResponse, { told, refused }: Parameters<Passage['leave']>[1]): HttpResponse {
      if (!settings.audit) return response;
      const { kind, upstream, repository, group, reference, cacheStatus } = told;
      const decision = decisionOf(refused, { isIn, isKnown: upstream !== undefined });
      const answered = {
        kind: kind as PullEvent['kind'],
        method: request.method,
        ...(name !== undefined && { identity: name }),
        ...(upstream !== undefined && { upstream }),
        ...(repository !== undefined && { repository }),
        ...(group !== undefined && { group }),
        ...(reference !== undefined && { reference }),
        decision,
        ...(decision !== 'allow' && refused && { reason: refused.message }),
        ...(cacheStatus !== undefined && { cacheStatus }),
      };
      return audited(response, { answered, startedAt }, parts);
    }

    return passage;
  }

  const asks = settings.authenticate !== undefined || settings.authorize !== undefined;
  return { asks, audits: settings.audit, arrive };
}

/** @param at.isIn whether it was refused after it was let in @param at.isKnown whether it named an upstream */
function decisionOf(
  refused: ProxyCacheError | undefined,
  { isIn, isKnown }: { isIn: boolean; isKnown: boolean },
): PullEvent['decision'] {
  switch (refused?.code) {
    case 'read-only':
    case 'not-admitted':
      return 'deny';
    case 'held':
      return 'hold';
    case 'admission-failed':
      return 'failed';
    case 'name-unknown':
      return isKnown ? 'allow' : 'deny';
    case 'unauthenticated':
      return 'unauthenticated';
    case 'denied':
      // By the upstream, else.
      return isIn ? 'allow' : 'deny';
    default:
      return isIn ? 'allow' : 'failed';
  }
}

function tagOrDigestOf(route: NamedRoute): string | undefined {
  if (route.kind === 'manifest') return route.reference.kind === 'tag' ? route.reference.tag : route.reference.digest;
  return route.kind === 'tags' ? undefined : route.digest;
}

async function shows(
  visitor: Visitor,
  identity: Identity | undefined,
  { upstream, repository }: Pick<AccessQuestion, 'upstream' | 'repository'>,
): Promise<boolean> {
  if (identity?.repositories && !identity.repositories.includes(`${upstream}/${repository}`)) return false;
  const verdict = await visitor.authorize({ identity, action: 'list', upstream, repository });
  return verdict.allow;
}
