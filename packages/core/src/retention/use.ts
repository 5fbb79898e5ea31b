import { keyOf } from '../catalog/keys.ts';
import type { ContentKind } from '../catalog/links.ts';
import type { Place } from '../catalog/place.ts';

/** What a use is of: a tag, or a manifest or blob by digest, of one repository. */
export interface Used {
  place: Omit<Place, 'generation'>;
  kind: 'tag' | ContentKind;
  tagOrDigest: string;
}

/**
 * The last use of one thing, as far as it is known here. It may be held by what is remembered of that thing: to note a use
 * is to set a number then.
 */
export interface Use {
  readonly used: Used;
  /** Ms since the epoch. */
  at: number;
  /** What the store is known to have. */
  savedAt: number;
  /** What this process wrote there, which may be ahead of what it knows. */
  wroteAt: number;
  /** Whether it is on its way to the store. */
  waits: boolean;
}

/** As memory calls it: shorter to make than a key of the store. */
export const nameOf = ({ place: { upstream, scope, repository }, kind, tagOrDigest }: Used): string =>
  `${upstream} ${scope} ${repository} ${kind} ${tagOrDigest}`;

export const useKey = ({ place: { upstream, scope, repository }, kind, tagOrDigest }: Used): string =>
  keyOf('use', upstream, scope, repository, `${kind}.${tagOrDigest}`);
