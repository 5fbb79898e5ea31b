import type { TagOrDigest } from '../oci/name.ts';
import { createIsComplete } from './is-complete.ts';
import type { PullParts } from './pull-parts.ts';
import { storedTag } from './stored-tag.ts';
import type { Target } from './target.ts';

/** An image of a repository. */
export interface ImageQuery {
  target: Target;
  reference: TagOrDigest;
  signal: AbortSignal;
}

/** Whether an image would be pulled whole from here if the upstream failed now; of an index, any one of its platforms. */
export type HasImage = (query: ImageQuery) => Promise<boolean>;

export function createHasImage(parts: PullParts): HasImage {
  const isComplete = createIsComplete(parts);
  return async ({ target, reference, signal }) => {
    const { upstream, place } = target;
    const tag = reference.kind === 'tag' ? reference.tag : undefined;
    if (upstream.names?.reasonAgainst(place.repository, tag) !== undefined) return false;
    if (reference.kind === 'digest') return isComplete(target, reference.digest, signal);
    const stored = await storedTag(parts, { target, tag: reference.tag, signal });
    if (!stored) return false;
    if (await isComplete(target, stored.value.digest, signal)) return true;
    // SEMANTICS 12: then the last one that was pulled whole is what the tag gives.
    return stored.lastComplete !== undefined && isComplete(target, stored.lastComplete.digest, signal);
  };
}
