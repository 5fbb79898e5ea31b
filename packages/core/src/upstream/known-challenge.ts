import { type Challenge, parseChallenges } from './challenge.ts';
import { longestHost } from './redirect.ts';

/** How a registry wants to be convinced, once it has said so. */
export type KnownChallenge =
  | { kind: 'basic' }
  | {
      kind: 'bearer';
      realm: URL;
      service: string | undefined;
      /** The scope to ask for, for a repository; `''` for none. */
      scopeOf(repository: string | undefined): string;
    };

/** A realm that is not asked: why, in words that go behind "the upstream". */
export class RealmRefused extends Error {
  constructor(why: string) {
    super(why);
    this.name = 'RealmRefused';
  }
}

/**
 * Reads a challenge and keeps what holds for other repositories too, so that they need not be refused first.
 *
 * @param asked where it came from, and the repository it was about
 * @returns `undefined` where nothing we know is offered
 * @throws RealmRefused
 */
export function readChallenge(
  headers: string | readonly string[] | undefined,
  asked: { url: URL; repository: string | undefined },
): KnownChallenge | undefined {
  const offered = parseChallenges(headers);
  const bearer = offered.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
  if (bearer) return bearerOf(bearer, asked);
  return offered.some(({ scheme }) => scheme === 'basic') ? { kind: 'basic' } : undefined;
}

/** Whether a refusal is about what the credential may do, not about the credential (RFC 6750 3.1). */
export function isAboutScope(headers: string | readonly string[] | undefined): boolean {
  return parseChallenges(headers).some(({ parameters }) => parameters.get('error') === 'insufficient_scope');
}

/** Whether a challenge asks for just such a token of a repository. */
export function asksFor(
  challenge: KnownChallenge,
  token: { realm: URL; service: string | undefined; scope: string },
  repository: string | undefined,
): boolean {
  return (
    challenge.kind === 'bearer' &&
    challenge.realm.href === token.realm.href &&
    challenge.service === token.service &&
    challenge.scopeOf(repository) === token.scope
  );
}

function bearerOf(
  { parameters }: Challenge,
  { url, repository }: { url: URL; repository: string | undefined },
): KnownChallenge {
  const text = parameters.get('realm') ?? '';
  // The constructor's error would hold the whole text.
  if (!URL.canParse(text, url.origin)) throw new RealmRefused('named a token service that is no URL');
  const realm = new URL(text, url.origin);
  if (realm.hostname.length > longestHost) throw new RealmRefused('named a token service at what is no host');
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') {
    throw new RealmRefused('named a token service at a URL that is neither https nor http');
  }
  if (url.protocol === 'https:' && realm.protocol === 'http:') {
    throw new RealmRefused('named a token service on plain http, where anybody may listen');
  }
  realm.hash = '';
  return {
    kind: 'bearer',
    realm,
    service: parameters.get('service'),
    scopeOf: scopeShape(parameters.get('scope'), repository),
  };
}

/** Most registries say `repository:<name>:pull`; one behind a path prefix may put more before the name. */
function scopeShape(told: string | undefined, asked: string | undefined): (repository: string | undefined) => string {
  const at = told !== undefined && asked !== undefined ? told.lastIndexOf(asked) : -1;
  if (told === undefined || asked === undefined || at < 0) {
    return (repository) => told ?? (repository === undefined ? '' : `repository:${repository}:pull`);
  }
  const [before, after] = [told.slice(0, at), told.slice(at + asked.length)];
  return (repository) => (repository === undefined ? '' : `${before}${repository}${after}`);
}
