import { asCaller, type PullUpstream, type Target } from '../pull/target.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Caller } from '../upstream/caller.ts';
import { basicCredentialOf } from './basic-credential.ts';
import type { HttpRequest } from './message.ts';
import type { Route } from './route.ts';

/** Who requests speak for, at upstreams that are asked with their callers' credentials. */
export interface Callers {
  /**
   * A target as the request's caller sees it; the same where its upstream has a credential of its own.
   *
   * @throws ProxyCacheError `unauthenticated` for a request without a name and password
   */
  see(target: Target, request: HttpRequest): Target;
  /** Whether a request's credentials, if it has any, are for the upstream that it means. */
  areAsked(route: Route): boolean;
  /**
   * Checks a login: clients learn at `/v2/` whether they are to send a name and password, and send none without that.
   *
   * @param told gets the upstream that it is for
   * @throws ProxyCacheError `unauthenticated`; UpstreamError where the upstream could not say whether they are right
   */
  ping(route: Route, request: HttpRequest, told: { upstream?: string }): Promise<void>;
  /** What a 401 asks for, of an upstream where it is known; `undefined`: callers' credentials are not it. */
  challenges(upstream?: string): readonly string[] | undefined;
}

/** What {@link createCallers} works with. */
export interface CallersParts {
  /** Those that there are now. */
  upstreams: ReadonlyMap<string, PullUpstream>;
  /** Finds what a name means; the empty one means what host or default there is. */
  locate(route: { name: string } & Pick<Route, 'ns' | 'host'>): { target: Target } | undefined;
  /** Whether the host asks who its own users are: then a login that may be for either is theirs. */
  hasUsers: boolean;
  clock: Clock;
}

export function createCallers({ upstreams, locate, hasUsers, clock }: CallersParts): Callers {
  const ofCallers = () => [...upstreams.values()].filter(({ callerOf }) => callerOf !== undefined);

  function hasOfCallers(): boolean {
    for (const { callerOf } of upstreams.values()) if (callerOf) return true;
    return false;
  }

  function callerOf(upstream: PullUpstream, request: HttpRequest): Caller | undefined {
    const credential = basicCredentialOf(request.headers.get('authorization'));
    return credential && upstream.callerOf?.(credential);
  }

  const loginWanted = (key: string) =>
    new ProxyCacheError('unauthenticated', `${key} wants a name and password of your own there; log in`);

  async function check(upstream: PullUpstream, caller: Caller, { signal }: HttpRequest): Promise<void> {
    const deadlineAt = clock.monotonic() + upstream.manifestWithinMs;
    const reply = await upstream.client.ping({ scope: caller.scope, caller, deadlineAt, signal });
    if (reply.kind === 'found') return;
    throw new ProxyCacheError('unauthenticated', `${upstream.key} does not take these credentials; log in again`);
  }

  /** The upstream that a request for `/v2/` is about; `'any'`: one of several, `undefined`: none that has callers. */
  function pinged({ ns, host }: Pick<Route, 'ns' | 'host'>): PullUpstream | 'any' | undefined {
    const located = locate({ name: '', ns, host })?.target.upstream;
    // Who comes without a login to an upstream that needs none, a mirror say, is not to be sent away.
    if (located || ns !== undefined) return located?.callerOf && located;
    if (hasUsers) return undefined;
    const [first, ...others] = ofCallers();
    return others.length > 0 ? 'any' : first;
  }

  return {
    areAsked(route) {
      if (!hasOfCallers()) return false;
      if (route.kind === 'ping') return pinged(route) !== undefined;
      return 'name' in route && locate(route)?.target.upstream.callerOf !== undefined;
    },
    see(target, request) {
      const { upstream } = target;
      if (!upstream.callerOf) return target;
      const caller = callerOf(upstream, request);
      if (!caller) throw loginWanted(upstream.key);
      return asCaller(target, caller);
    },
    async ping(route, request, told) {
      const upstream = hasOfCallers() ? pinged(route) : undefined;
      if (upstream === undefined) return;
      if (upstream === 'any') {
        // Whichever of them is meant checks them: a password is not for the others.
        if (!basicCredentialOf(request.headers.get('authorization'))) throw loginWanted('what is served here');
        return;
      }
      told.upstream = upstream.key;
      const caller = callerOf(upstream, request);
      if (!caller) throw loginWanted(upstream.key);
      await check(upstream, caller, request);
    },
    challenges(key) {
      if (key !== undefined) return upstreams.get(key)?.callerOf && [`Basic realm="${key}"`];
      return hasOfCallers() ? ['Basic realm="proxycache"'] : undefined;
    },
  };
}
