/** What content was seen in repositories, by its mark. */
export interface Stored {
  /** A repository keeps it. */
  stays(mark: number): void;
  /** A repository lets it go. */
  goes(mark: number, usedAt: number): void;
  isManifest(mark: number): void;
  /** The last use of what no repository keeps; `undefined`: one does, or none has it. */
  goneAt(mark: number): number | undefined;
  wasSeen(mark: number): boolean;
  wasManifest(mark: number): boolean;
  /** Whether any manifest goes. */
  hasManifests(): boolean;
  /** Whether a repository may need what it does not name. */
  isPartial: boolean;
}

export function createMarks(): Stored {
  const kept = new Set<number>();
  const gone = new Map<number, number>();
  const manifests = new Set<number>();
  return {
    isPartial: false,
    stays(mark) {
      gone.delete(mark);
      manifests.delete(mark);
      kept.add(mark);
    },
    goes(mark, usedAt) {
      if (!kept.has(mark)) gone.set(mark, Math.max(gone.get(mark) ?? Number.NEGATIVE_INFINITY, usedAt));
    },
    isManifest(mark) {
      if (gone.has(mark)) manifests.add(mark);
    },
    goneAt: (mark) => gone.get(mark),
    wasSeen: (mark) => kept.has(mark) || gone.has(mark),
    wasManifest: (mark) => manifests.has(mark),
    hasManifests: () => manifests.size > 0,
  };
}
