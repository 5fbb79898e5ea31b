import { createNameRules } from '../admission/name-rules.ts';
import { createSegmentLink } from '../ingest/segment-link.ts';
import { parseDuration } from '../runtime/duration.ts';
import type { UpstreamParts } from '../upstream/client.ts';
import { connectionsForBodies } from '../upstream/connection-pool.ts';
import { createUpstream } from '../upstream/endpoints.ts';
import { generationOf } from '../upstream/generation.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';
import { prefetchesOf } from './prefetch.ts';
import type { PullUpstream } from './target.ts';

/** Long enough to spare an upstream a client's retries, short enough for a mended credential to show. */
const deniedForMs = 5_000;

/** An upstream as pulls use it. @throws ProxyCacheError `invalid-options` */
export function createPullUpstream(settings: UpstreamSettings, parts: UpstreamParts): PullUpstream {
  return {
    key: settings.key,
    client: createUpstream(settings, parts),
    rules: {
      freshForMs: parseDuration(settings.freshFor),
      staleIfErrorForMs: parseDuration(settings.staleIfErrorFor),
      staleWhileRevalidateForMs: parseDuration(settings.staleWhileRevalidateFor),
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
    coldRange: settings.coldRange,
    prefetches: settings.prefetch === 'layers' ? prefetchesOf(settings.connections) : 0,
    segments: settings.segments
      ? createSegmentLink({ ...settings.segments, limit: connectionsForBodies(settings.connections) }, parts.clock)
      : undefined,
  };
}
