import type { Place } from '../catalog/place.ts';
import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Judgement } from './read-decision.ts';

/** What a client is told of a decision by which it does not get what it asked for. @param now ms since the epoch */
export function refusedBy(judgement: Exclude<Judgement, { kind: 'allow' }>, now: number): ProxyCacheError {
  if (judgement.kind === 'deny') return new ProxyCacheError('not-admitted', `refused by policy: ${judgement.reason}`);
  const { until: retryAt, reason } = judgement;
  const instant = new Date(retryAt).toISOString().replace('.000Z', 'Z');
  const why = reason === undefined ? '' : `: ${reason}`;
  const hint = retryAt > now ? 'pull again then' : 'pull again';
  return new ProxyCacheError('held', `held by policy until ${instant}${why}; ${hint}`, { retryAt });
}

/** What belongs to manifests that are gone, here and at the upstream. */
export function withoutParent({ repository, upstream }: Place): ProxyCacheError {
  const message = `none of the manifests of ${repository} that it belongs to can be judged; pull one that is at ${upstream} first`;
  return new ProxyCacheError('not-admitted', message);
}

/** A blob of which nobody knows what it belongs to is judged by nobody. */
export function withoutManifest({ upstream, repository }: Place, digest: Digest): ProxyCacheError {
  const message = `blob ${digest} of ${repository} at ${upstream} passes only with an image; pull its manifest first`;
  return new ProxyCacheError('not-admitted', message);
}
