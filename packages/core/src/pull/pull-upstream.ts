import { createNameRules } from '../admission/name-rules.ts';
import type { FreshnessRules } from '../freshness/rules.ts';
import { createSegmentLink } from '../ingest/segment-link.ts';
import { type Duration, parseDuration } from '../runtime/duration.ts';
import { createCallerOf } from '../upstream/caller.ts';
import type { UpstreamParts } from '../upstream/client.ts';
import { connectionsForBodies } from '../upstream/connection-pool.ts';
import { createUpstream } from '../upstream/endpoints.ts';
import { generationOf } from '../upstream/generation.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';
import { prefetchesOf } from './prefetch.ts';
import type { PullUpstream } from './target.ts';

/** Long enough to spare an upstream a client's retries, short enough for a mended credential to show. */
const deniedForMs = 5_000;

/**
 * An upstream as pulls use it.
 *
 * @param parts.callerKey what tells its callers apart, where it is asked with their credentials
 * @throws ProxyCacheError `invalid-options`
 */
export function createPullUpstream(
  settings: UpstreamSettings,
  parts: UpstreamParts & { callerKey: string | Uint8Array },
): PullUpstream {
  return {
    key: settings.key,
    client: createUpstream(settings, parts),
    rules: {
      ...timesOf(settings),
      absentForMs: parseDuration(settings.absentFor),
      deniedForMs,
      onAbsent: settings.onAbsent,
      onDenied: settings.onDenied,
      deniedMayMeanAbsent: settings.deniedMayMeanAbsent,
    },
    names: createNameRules(settings),
    generation: generationOf(settings),
    manifestWithinMs: parseDuration(settings.manifestWithin),
    blobWithinMs: parseDuration(settings.blobWithin),
    resumeWithinMs: parseDuration(settings.resumeWithin),
    validateWithinMs: parseDuration(settings.validateWithin),
    linkValidForMs: parseDuration(settings.linkValidFor),
    serveUnproven: settings.serveUnproven,
    callerOf: settings.credentials === 'caller' ? createCallerOf(settings.key, parts.callerKey) : undefined,
    coldRange: settings.coldRange,
    prefetches: settings.prefetch === 'layers' ? prefetchesOf(settings.connections) : 0,
    segments: settings.segments
      ? createSegmentLink({ ...settings.segments, limit: connectionsForBodies(settings.connections) }, parts.clock)
      : undefined,
  };
}

/** Of a caller's tags and lists no answer is older than its word that he may have them, unless that was said to do. */
function timesOf(
  settings: UpstreamSettings,
): Pick<FreshnessRules, 'freshForMs' | 'staleIfErrorForMs' | 'staleWhileRevalidateForMs'> {
  const bound = settings.credentials === 'caller' ? parseDuration(settings.linkValidFor) : Number.POSITIVE_INFINITY;
  const freshForMs = Math.min(parseDuration(settings.freshFor), bound);
  const within = (duration: Duration) => Math.min(parseDuration(duration), bound - freshForMs);
  const { staleIfErrorFor, staleWhileRevalidateFor, serveUnproven } = settings;
  return {
    freshForMs,
    staleIfErrorForMs: serveUnproven ? parseDuration(staleIfErrorFor) : within(staleIfErrorFor),
    staleWhileRevalidateForMs: within(staleWhileRevalidateFor),
  };
}
