import type { ContentKind, Link } from '../catalog/links.ts';
import type { Digest } from '../oci/digest.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** Some content of a repository. */
export interface Content {
  kind: ContentKind;
  digest: Digest;
  signal: AbortSignal;
}

/**
 * The expired proof that is good enough while the upstream fails, where it was said that it is (`serveUnproven`).
 *
 * @throws `error` where there is none, and where it is not the upstream's failure to say: a "no" is a "no"
 */
export async function unproven(
  { links }: PullParts,
  target: Target,
  { kind, digest, signal, error }: Content & { error: unknown },
): Promise<Link> {
  const isBorne = target.upstream.serveUnproven && isUpstreamError(error);
  const link = isBorne ? await links.findExpired(target.place, kind, digest, signal) : undefined;
  if (!link) throw error;
  return link;
}
