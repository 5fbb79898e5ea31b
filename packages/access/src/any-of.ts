import {
  type AccessRequest,
  type Authenticate,
  type Challenge,
  type ChallengeQuestion,
  type HandleBeside,
  type HttpRequest,
  type HttpResponse,
  type Identity,
  isProxyCacheError,
  ProxyCacheError,
} from '@proxycache/core';

/** Says who asks by one scheme of `Authorization`, which belongs to the function so that it cannot be lost on the way. */
export type AuthenticateScheme = Authenticate & { scheme: string };

/** Hooks of `access` that know who asks, by one way or by several. */
export interface AnyOfPart {
  /** Without a scheme it is asked about each request: by a client certificate, an address. */
  authenticate: Authenticate & { scheme?: string };
  challenge?: Challenge;
  handle?: HandleBeside;
}

/** What {@link anyOf} makes. */
export interface AnyOfAccess {
  authenticate: Authenticate;
  challenge: (question: ChallengeQuestion) => readonly string[];
  handle: HandleBeside;
}

/**
 * Takes several ways to say who one is side by side: Basic and Bearer, or two token services. The first that knows who asks
 * decides; credentials that none knows are refused, and the challenges of all are told, in the order of the parts.
 *
 * @throws ProxyCacheError `invalid-options` without parts
 */
export function anyOf(...parts: readonly AnyOfPart[]): AnyOfAccess {
  if (parts.length === 0) throw new ProxyCacheError('invalid-options', 'anyOf: expected at least one');
  async function handle(request: HttpRequest): Promise<HttpResponse | undefined> {
    for (const part of parts) {
      const response = await part.handle?.(request);
      if (response) return response;
    }
    return undefined;
  }

  return {
    async authenticate(request) {
      const scheme = schemeOf(request);
      // Without credentials all are: one may need some, where others do without.
      const isAsked = (one: string | undefined) => one === undefined || !scheme || sameScheme(one, scheme);
      const asked = parts.filter(({ authenticate: one }) => isAsked(one.scheme));
      const refusals: unknown[] = [];
      for (const part of asked) {
        const identity = await attempt(part, request, refusals);
        if (identity) return identity;
      }
      if (refusals.length > 0) throw gravest(refusals);
      const taken = schemesOf(parts);
      if (scheme === undefined || taken.length === 0 || schemesOf(asked).length > 0) return undefined;
      throw new ProxyCacheError('unauthenticated', `expected credentials of one of the schemes ${taken.join(', ')}`);
    },
    challenge: (question) => parts.flatMap((part) => part.challenge?.(question) ?? []),
    handle: Object.assign(handle, { owns: (url: string) => parts.some((part) => part.handle?.owns?.(url) ?? false) }),
  };
}

async function attempt(part: AnyOfPart, request: AccessRequest, refusals: unknown[]): Promise<Identity | undefined> {
  try {
    return await part.authenticate(request);
  } catch (error) {
    refusals.push(error);
    return undefined;
  }
}

// That one could not tell must not be told as a wrong password: its no may have been a yes.
function gravest(refusals: readonly unknown[]): unknown {
  const isCertain = (error: unknown) => isProxyCacheError(error) && error.code === 'unauthenticated';
  return refusals.find((error) => !isCertain(error)) ?? refusals[0];
}

function schemeOf(request: AccessRequest): string | undefined {
  return request.headers.get('authorization')?.trim().split(' ', 1)[0] || undefined;
}

// RFC 9110 11.1: the name of a scheme has no case.
const sameScheme = (one: string, other: string) => one.toLowerCase() === other.toLowerCase();

const schemesOf = (parts: readonly AnyOfPart[]) => [
  ...new Set(parts.flatMap(({ authenticate }) => authenticate.scheme ?? [])),
];
