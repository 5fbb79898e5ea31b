import { createClient, type UpstreamParts } from './client.ts';
import type { Upstream } from './upstream.ts';
import type { UpstreamSettings } from './upstream-options.ts';

/**
 * Makes an upstream of its options.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function createUpstream(settings: UpstreamSettings, parts: UpstreamParts): Upstream {
  return createClient(settings, parts);
}
