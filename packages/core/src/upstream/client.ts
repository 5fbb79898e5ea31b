import type { Clock } from '../runtime/clock.ts';
import type { Throttle } from '../runtime/throttle.ts';
import type { Trace } from '../runtime/tracing.ts';
import { version } from '../runtime/version.ts';
import { createAsk } from './ask.ts';
import { createAuthenticator } from './authenticate.ts';
import { createBlobs } from './blobs.ts';
import { createCallerRejections } from './caller-rejections.ts';
import type { Lookup } from './connector.ts';
import { createCredentialLoader } from './credential-load.ts';
import { type CredentialSource, createCredentialSource } from './credential-source.ts';
import type { SecretOf } from './credentials.ts';
import type { UpstreamEvent } from './events.ts';
import { createManifests } from './manifests.ts';
import type { UpstreamMode } from './mode.ts';
import { createPing } from './ping.ts';
import { createQuota } from './quota.ts';
import { createRateLimits } from './rate-limit.ts';
import { createReferrers } from './referrers.ts';
import { createRejections } from './rejection.ts';
import { createTags } from './tags.ts';
import type { ThreadLanes } from './thread-lanes.ts';
import { createTokens } from './token.ts';
import { createTokenServiceClient } from './token-service.ts';
import { createTellRequest } from './told-request.ts';
import { createTransport } from './transport.ts';
import type { HostStatus, Upstream, UpstreamStatus } from './upstream.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/** The credential scope of the upstream's own credential. */
const ownScope = '-';

/** What an upstream needs from the process around it. */
export interface UpstreamParts {
  clock: Clock;
  observe(event: UpstreamEvent): void;
  /** Default `proxycache/<version>`. */
  userAgent?: string;
  /** Called when a request has to wait for a connection, while others have all that it may use. */
  crowded?(): void;
  /** Called with 1 when it turns to a host, with -1 when it has no connection to it any more. */
  pooled?(change: 1 | -1): void;
  /** Resolves host names. Default: the machine's `dns.lookup`. */
  lookup?: Lookup;
  /** Threads that receive blobs. Default: none, this one does. */
  lanes?: ThreadLanes | undefined;
  /** How it is used now. Default: as its options say. */
  mode?(): UpstreamMode;
  /** What the references of `auth` stand for. Default: they cannot be used. */
  secretOf?: SecretOf | undefined;
  /** The credential of `url`. Default: one of its own, by `auth`. */
  source?: CredentialSource | undefined;
  /** Default: nobody traces. */
  trace?: Trace | undefined;
  /** Bounds the bytes that come from all its endpoints together. Default: nothing does. */
  throttle?: Throttle | undefined;
}

/**
 * Makes the client of one endpoint, by the OCI distribution-spec: each question is asked once. It connects when it is
 * first asked.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createClient(settings: UpstreamSettings, parts: UpstreamParts): Upstream {
  const {
    clock,
    observe,
    userAgent = `proxycache/${version}`,
    crowded,
    pooled,
    secretOf,
    source,
    lookup,
    lanes,
    trace,
    mode = () => settings.mode,
    throttle,
  } = parts;
  const tell = createTellRequest({ key: settings.key, clock, observe, trace });
  const { key, ownVoice: markers, maxManifestBytes } = settings;
  const ofCallers = settings.credentials === 'caller';
  const transport = createTransport(settings, {
    clock,
    userAgent,
    observe,
    ...(crowded && { crowded }),
    ...(pooled && { pooled }),
    ...(lookup && { lookup }),
    lanes,
    mode,
    throttle,
  });
  const loader = source
    ? undefined
    : createCredentialLoader(settings.auth, { key, server: helperServer(settings), secretOf, clock });
  const authenticator = createAuthenticator({
    key,
    clock,
    source: loader ? createCredentialSource(loader, { clock, key }) : source,
    tokens: createTokens(createTokenServiceClient({ key, clock, transport, tell }), { clock, key, trace }),
    rejections: ofCallers ? createCallerRejections({ key, clock }) : createRejections({ key, clock, observe }),
    ofCallers,
    isOwn: transport.isOwn,
  });
  const own = new URL(settings.url).host;
  const quota = createQuota({
    clock,
    reserve: settings.rateLimit.reserve,
    // Callers' quotas are their own.
    changed: (state) => !ofCallers && observe({ type: 'rate-limit', upstream: key, ...state }),
  });
  const limits = createRateLimits(clock);
  const ask = createAsk(settings, { clock, transport, authenticator, quota, limits, tell, mode });
  const manifests = createManifests(ask, { key, maxManifestBytes, markers });
  return {
    ...manifests,
    ...createBlobs(ask, { key, markers }),
    ...createTags(ask, { key, markers }),
    ...createReferrers(ask, { key, markers, clock, fetchManifest: manifests.fetchManifest }),
    ...createPing(ask, { key, markers }),
    state(query) {
      if (mode() === 'offline') return 'open';
      const state = transport.stateOf(own);
      const tokenService = state === 'closed' ? authenticator.tokenService() : undefined;
      if (!tokenService || transport.stateOf(tokenService.host) === 'closed') return state;
      return authenticator.holdsToken(query) ? state : 'half-open';
    },
    status() {
      const rateLimit = quota.reading(ownScope);
      const state = statusOf(transport.hosts(), own);
      const limitedUntil = limits.anyLimitedUntil();
      return {
        key,
        mode: mode(),
        ...state,
        ...(rateLimit && { rateLimit }),
        ...(limitedUntil !== undefined && { limitedUntil }),
      };
    },
    close: () => transport.close(),
  };
}

function statusOf(hosts: readonly HostStatus[], own: string): Omit<UpstreamStatus, 'key' | 'mode'> {
  const { state, retryAt } = hosts.find(({ host }) => host === own) ?? { state: 'closed' as const };
  return { state, ...(retryAt !== undefined && { retryAt }), hosts };
}

/** Docker's tools file credentials of Docker Hub under its first address, all others under their host. */
function helperServer({ url, hosts }: UpstreamSettings): string {
  return hosts.includes('docker.io') ? 'https://index.docker.io/v1/' : new URL(url).host;
}
