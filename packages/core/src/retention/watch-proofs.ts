import type { ContentKind, Links } from '../catalog/links.ts';
import type { Digest } from '../oci/digest.ts';

/** What repositories have proved to hold since somebody looks. */
export interface ProofWatch {
  /** What is new since it was asked last. */
  take(): readonly { kind: ContentKind; digest: Digest }[];
  end(): void;
}

/** Links, and whoever wants to know which ones are new: what is about to be served must not go. */
export interface WatchedLinks {
  links: Links;
  watch(): ProofWatch;
}

export function watchProofs(links: Links): WatchedLinks {
  const watches = new Set<Map<string, { kind: ContentKind; digest: Digest }>>();
  return {
    links: {
      ...links,
      prove(place, kind, content) {
        const { digest } = content;
        for (const seen of watches) seen.set(`${kind} ${digest}`, { kind, digest });
        return links.prove(place, kind, content);
      },
    },
    watch() {
      let seen = new Map<string, { kind: ContentKind; digest: Digest }>();
      watches.add(seen);
      return {
        take() {
          if (seen.size === 0) return [];
          const taken = [...seen.values()];
          watches.delete(seen);
          seen = new Map();
          watches.add(seen);
          return taken;
        },
        end: () => void watches.delete(seen),
      };
    },
  };
}
