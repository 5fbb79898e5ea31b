import { isLocal } from '../ingest/is-local.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { PrefetchEvent } from './events.ts';
import type { Target } from './target.ts';

/** Why nothing is to be fetched ahead from an upstream now; `undefined`: it may be. */
export function obstacleTo({ upstream, place }: Target): PrefetchEvent['reason'] | undefined {
  const { hosts, limitedUntil } = upstream.client.status();
  const isUp = upstream.client.state(place) === 'closed' && hosts.every(({ state }) => state === 'closed');
  if (!isUp) return 'unavailable';
  return limitedUntil === undefined ? undefined : 'rate-limited';
}

/** What kept a blob from being fetched ahead, by the error of its transfer. */
export function obstacleOf(error: unknown): PrefetchEvent['reason'] {
  if (isLocal(error)) return 'storage';
  if (isProxyCacheError(error) && error.code === 'too-many-ingests') return 'crowded';
  return isUpstreamError(error) && error.code === 'rate-limited' ? 'rate-limited' : 'failed';
}
