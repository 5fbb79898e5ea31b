import type { Term } from '../upstream/identity.ts';

/** One upstream repository as one credential sees it: what links, tags and proofs belong to. */
export interface Place {
  /** The upstream's key. */
  upstream: string;
  /** The credential scope. */
  scope: string;
  /** The repository's name at the upstream. */
  repository: string;
  /** Stands for the upstream's URL and credential: a proof holds only under the one it was given. */
  generation: string;
  /** When it was looked at: after that nothing new is known of it, only of a later one. Missing: it has no end. */
  term?: Term | undefined;
}
