import type { Descriptor } from '@proxycache/core';
import type { Answer, Exchange } from './answer.ts';
import { basicGuard, bearerGuard, type FakeAuth, type Guard, openGuard, unauthorized } from './auth.ts';
import { type Content, createContent } from './content.ts';
import type { FakeCdn } from './fake-cdn.ts';
import { type FakeHost, type FakeHostOptions, startFakeHost } from './fake-host.ts';
import { type AddedImage, addImage, addReferrer, type ImageOptions, type ReferrerOptions } from './image.ts';
import { combine, type Personality, type PersonalityName } from './personality.ts';
import { answerRegistry, parseFakeRoute } from './registry.ts';
import { createTokenService, type TokenService } from './token-service.ts';

/** What of a fake registry may change while it runs. */
export interface UpstreamSettings {
  /** Default `'none'`. */
  auth: FakeAuth;
  /** How it differs from the specification. Default: not at all. */
  personality: PersonalityName | Personality | readonly (PersonalityName | Personality)[];
  /** Whether it has a referrers API. Default true. */
  referrers: boolean;
  /** The most entries of one page of tags or referrers. Default no limit. */
  pageLimit: number;
  /** Where blobs are redirected to. Default: they are served here. */
  redirectBlobsTo: FakeCdn | undefined;
}

/** Options of {@link startFakeUpstream}. */
export interface FakeUpstreamOptions extends FakeHostOptions, Partial<UpstreamSettings> {
  /** Starts the path before `/v2/`, as in `/prefix`. Default `''`. */
  basePath?: string;
  /** By which tokens expire. Default: the machine's clock. */
  clock?: { now(): number };
}

/** A registry on a loopback address. `url` includes the base path. */
export interface FakeUpstream extends FakeHost, Content {
  /** Adds an image of made-up layers. */
  addImage(repository: string, options?: ImageOptions): AddedImage;
  /** Adds an artifact with a subject. */
  addReferrer(repository: string, options: ReferrerOptions): Descriptor;
  /** Changes some settings; a change of `auth` makes all tokens unknown. */
  change(settings: Partial<UpstreamSettings>): void;
  /** How often its token service was asked, by the log of that host. */
  tokenCalls(): number;
  /** Makes all tokens given so far unknown, as a restart of the token service does. */
  revokeTokens(): void;
}

const tokenPath = '/token';

/** Starts a registry (OCI distribution-spec, pull and content discovery) with content, faults and habits to order. */
export async function startFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const { basePath = '', clock = Date, ...given } = options;
  const content = createContent();
  const settings: UpstreamSettings = {
    auth: given.auth ?? 'none',
    personality: given.personality ?? [],
    referrers: given.referrers ?? true,
    pageLimit: given.pageLimit ?? Number.MAX_SAFE_INTEGER,
    redirectBlobsTo: given.redirectBlobsTo,
  };
  let personality = combine([settings.personality].flat());
  let guard: Guard = openGuard;
  let tokens: TokenService | undefined;
  let tokenHost: FakeHost | undefined;

  function answer(request: Exchange): Answer {
    const path = request.path.startsWith(basePath) ? request.path.slice(basePath.length) : '';
    const plain = registryAnswer(request, path);
    return personality.alter?.(plain, request) ?? plain;
  }

  function registryAnswer(request: Exchange, path: string): Answer {
    const route = parseFakeRoute(path);
    if (!route) return { status: 404, headers: { 'content-type': 'text/plain' }, body: '404 page not found\n' };
    const refused = refusal(request, route.kind === 'ping' ? undefined : route.repository);
    const { redirectBlobsTo, pageLimit } = settings;
    const found =
      refused ??
      answerRegistry({ route, request }, content, {
        referrers: settings.referrers && !personality.noReferrers,
        ranges: !personality.noRanges,
        pageLimit,
        basePath,
        ...(redirectBlobsTo && { redirectBlob: redirectBlobsTo.sign }),
      });
    return { ...found, headers: { 'docker-distribution-api-version': 'registry/2.0', ...found.headers } };
  }

  function refusal(request: Exchange, repository: string | undefined): Answer | undefined {
    const hidden = repository !== undefined && personality.hidesMissing === true && !content.hasRepository(repository);
    const verdict = guard.check(request, repository);
    if (verdict === 'granted' && !hidden) return undefined;
    const why = verdict === 'granted' ? 'scope' : verdict;
    return personality.refuse?.(why) ?? unauthorized(guard.challenge(repository, why));
  }

  function useAuth(auth: FakeAuth): void {
    tokens = undefined;
    tokenHost = undefined;
    if (auth === 'none') guard = openGuard;
    else if ('basic' in auth) guard = basicGuard(auth.basic, host.url);
    else {
      const { at = host, realm, service, ...behaviour } = auth.bearer;
      const issuer = createTokenService(behaviour, {
        now: () => clock.now(),
        mayGrant: (repository) => !personality.hidesMissing || content.hasRepository(repository),
        refuse: () => personality.refuseToken?.(),
      });
      at.serve(tokenPath, (request) => {
        const given = issuer.answer(request);
        return personality.alter?.(given, request) ?? given;
      });
      guard = bearerGuard(issuer, { realm: realm ?? `${originOf(at)}${tokenPath}`, service: service ?? host.host });
      tokens = issuer;
      tokenHost = at;
    }
  }

  const host = await startFakeHost(options, answer);
  useAuth(settings.auth);

  // Added to the host itself, not to a copy: its log is read by a getter.
  return Object.assign(host, content, {
    url: `${host.url}${basePath}`,
    addImage: (repository: string, image?: ImageOptions) => addImage(content, repository, image),
    addReferrer: (repository: string, referrer: ReferrerOptions) => addReferrer(content, repository, referrer),
    change(changes: Partial<UpstreamSettings>) {
      Object.assign(settings, changes);
      personality = combine([settings.personality].flat());
      if (changes.auth !== undefined) useAuth(changes.auth);
    },
    tokenCalls: () => tokenHost?.count({ path: tokenPath }) ?? 0,
    revokeTokens: () => tokens?.revoke(),
  });
}

function originOf(host: FakeHost): string {
  return new URL(host.url).origin;
}
