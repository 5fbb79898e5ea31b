import { createNameRules } from '../admission/name-rules.ts';
import { createSegmentLink } from '../ingest/segment-link.ts';
import { parseDuration } from '../runtime/duration.ts';
import { createCallerOf } from '../upstream/caller.ts';
import type { UpstreamParts } from '../upstream/client.ts';
import { connectionsForBodies } from '../upstream/connection-pool.ts';
import { createUpstream } from '../upstream/endpoints.ts';
import { createIdentity } from '../upstream/identity.ts';
import type { UpstreamMode } from '../upstream/mode.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';
import { rulesOfModes } from './mode-rules.ts';
import { createPassages } from './passages.ts';
import { prefetchesOf } from './prefetch.ts';
import type { PullUpstream } from './target.ts';

/** What an upstream needs to be pulled from. */
export interface PullUpstreamParts extends Omit<UpstreamParts, 'mode' | 'source'> {
  /** What tells its callers apart, where it is asked with their credentials. */
  callerKey: string | Uint8Array;
  /** The same upstream before a change of options that neither depends on. Default: both are new. */
  before?: Pick<PullUpstream, 'client' | 'identity' | 'passages'>;
  /** The mode that holds now; may change. Default: that of the settings, for good. */
  inUse?: { mode: UpstreamMode };
}

/**
 * An upstream as pulls use it.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createPullUpstream(
  settings: UpstreamSettings,
  { before, inUse = { mode: settings.mode }, ...parts }: PullUpstreamParts,
): PullUpstream {
  const { maxConnections } = settings.limits;
  const rules = rulesOfModes(settings);
  const identity = before?.identity ?? createIdentity(settings, parts);
  const { source } = identity;
  return {
    key: settings.key,
    client: before?.client ?? createUpstream(settings, { ...parts, source, mode: () => inUse.mode }),
    get mode() {
      return inUse.mode;
    },
    library: settings.library,
    get rules() {
      return rules[inUse.mode];
    },
    names: createNameRules(settings),
    identity,
    manifestWithinMs: parseDuration(settings.manifestWithin),
    blobWithinMs: parseDuration(settings.blobWithin),
    resumeWithinMs: parseDuration(settings.resumeWithin),
    validateWithinMs: parseDuration(settings.validateWithin),
    linkValidForMs: parseDuration(settings.linkValidFor),
    serveUnproven: settings.serveUnproven,
    hasCredential: settings.auth !== 'anonymous' || settings.tls?.cert !== undefined,
    callerOf: settings.credentials === 'caller' ? createCallerOf(settings.key, parts.callerKey) : undefined,
    maxBlobBytes: settings.limits.maxBlobBytes ?? Number.POSITIVE_INFINITY,
    coldRange: settings.coldRange,
    passages: before?.passages ?? createPassages(maxConnections, parts.clock),
    prefetches: settings.prefetch === 'layers' ? prefetchesOf(maxConnections) : 0,
    segments: settings.segments
      ? createSegmentLink({ ...settings.segments, limit: connectionsForBodies(maxConnections) }, parts.clock)
      : undefined,
  };
}
