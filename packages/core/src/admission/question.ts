import type { Place } from '../catalog/place.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import type { Asker } from './asker.ts';
import { identityKey } from './identity-key.ts';

/** A manifest with its bytes. */
export interface FoundManifest {
  descriptor: Descriptor;
  bytes: Uint8Array;
}

/** What of a repository a policy may look at, through the cache. */
export interface RepositoryContent {
  manifest(reference: TagOrDigest, signal: AbortSignal): Promise<FoundManifest>;
  /** All of it, verified. @throws Error for one of more than 4 MiB */
  blob(digest: Digest, signal: AbortSignal): Promise<Uint8Array>;
  referrers(digest: Digest, signal: AbortSignal): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

/** Whether a manifest may pass, as somebody asked for it. */
export interface Asked {
  place: Place;
  digest: Digest;
  reference: TagOrDigest;
  asker: Asker | undefined;
  /** Admitted ones. */
  parents: readonly Digest[];
}

/** The same, with what it is answered by. */
export interface Question extends Asked {
  found: FoundManifest;
  /** When it was first named by an index that was asked for, in ms since the epoch. */
  namedAt: number | undefined;
  content: RepositoryContent;
}

/** Of what differs from one question about a manifest to the next, what a decision may depend on. */
export type Facet = 'identity' | 'reference' | 'parents' | 'request';

/** A facet of a question as text, equal where that is the same; `undefined`: of no other question it is. */
export function facetOf({ asker, reference, parents }: Asked, facet: Facet): string | undefined {
  switch (facet) {
    case 'identity':
      return identityKey(asker?.identity);
    case 'reference':
      return referenceText(reference);
    case 'parents':
      return parents.join(',');
    case 'request':
      return undefined;
  }
}

export function referenceText(reference: TagOrDigest): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}
