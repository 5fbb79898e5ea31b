import type { ContentKind, Links } from '../catalog/links.ts';
import type { Digest } from '../oci/digest.ts';

/** What a repository has just proved to hold. */
export interface Proof {
  kind: ContentKind;
  digest: Digest;
}

/** Calls `told` at each proof, before it is written down, until the function is called. */
export type WatchProofs = (told: (proof: Proof) => void) => () => void;

/** Links, and whoever wants to know which ones are new: what is about to be served must not go. */
export interface WatchedLinks {
  links: Links;
  watch: WatchProofs;
}

export function watchProofs(links: Links): WatchedLinks {
  const watches = new Set<{ told: (proof: Proof) => void }>();
  return {
    links: {
      ...links,
      prove(place, kind, content) {
        const { digest } = content;
        for (const { told } of watches) told({ kind, digest });
        return links.prove(place, kind, content);
      },
    },
    watch(told) {
      const watch = { told };
      watches.add(watch);
      return () => void watches.delete(watch);
    },
  };
}

/** What repositories have proved to hold since somebody looks. */
export interface RecentProofs {
  /** What is new since it was asked last. */
  take(): readonly Proof[];
  end(): void;
}

export function recentProofs(watch: WatchProofs): RecentProofs {
  const seen = new Map<string, Proof>();
  const end = watch((proof) => void seen.set(`${proof.kind} ${proof.digest}`, proof));
  return {
    take() {
      if (seen.size === 0) return [];
      const taken = [...seen.values()];
      seen.clear();
      return taken;
    },
    end,
  };
}
