import { createNameRules } from '../admission/name-rules.ts';
import { createSegmentLink } from '../ingest/segment-link.ts';
import { parseDuration } from '../runtime/duration.ts';
import { createCallerOf } from '../upstream/caller.ts';
import type { UpstreamParts } from '../upstream/client.ts';
import { connectionsForBodies } from '../upstream/connection-pool.ts';
import { createUpstream } from '../upstream/endpoints.ts';
import { generationOf } from '../upstream/generation.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';
import { rulesOfModes } from './mode-rules.ts';
import { prefetchesOf } from './prefetch.ts';
import type { PullUpstream } from './target.ts';

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
  const { maxConnections } = settings.limits;
  const rules = rulesOfModes(settings);
  const upstream: PullUpstream = {
    key: settings.key,
    client: createUpstream(settings, { ...parts, mode: () => upstream.mode }),
    mode: settings.mode,
    get rules() {
      return rules[upstream.mode];
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
    prefetches: settings.prefetch === 'layers' ? prefetchesOf(maxConnections) : 0,
    segments: settings.segments
      ? createSegmentLink({ ...settings.segments, limit: connectionsForBodies(maxConnections) }, parts.clock)
      : undefined,
  };
  return upstream;
}
