import type { ProxyCacheEvent } from '@proxycache/core';
import type { Version } from './shelf.ts';

/** What the cache has acknowledged, so that it must have it from now on, with every upstream gone. */
export interface Ledger {
  keeps(repository: string, digest: string): boolean;
  keep(repository: string, digest: string): void;
  /** Its bytes were taken away. */
  lose(digest: string): void;
  /** The latest version of a tag that the upstream has confirmed, and whether its manifest was stored. */
  confirmed(repository: string, tag: string): { version: Version; stored: boolean } | undefined;
  /** `reliable`: the store had no trouble while it was written down. */
  confirm(at: { repository: string; tag: string }, version: Version, how: { stored: boolean; reliable: boolean }): void;
  /** Takes in blobs that were stored, once their links must be written too. */
  learn(events: readonly ProxyCacheEvent[]): void;
  clear(): void;
}

export function createLedger(): Ledger {
  const kept = new Map<string, Set<string>>();
  const tags = new Map<string, { version: Version; stored: boolean }>();
  const keep = (repository: string, digest: string) => {
    const repositories = kept.get(digest) ?? new Set();
    kept.set(digest, repositories.add(repository));
  };
  return {
    keeps: (repository, digest) => kept.get(digest)?.has(repository) === true,
    keep,
    lose: (digest) => void kept.delete(digest),
    confirmed: (repository, tag) => tags.get(`${repository}:${tag}`),
    confirm({ repository, tag }, version, { stored, reliable }) {
      const key = `${repository}:${tag}`;
      const before = tags.get(key);
      if (!reliable) {
        tags.delete(key);
        return;
      }
      if (before && before.version.seq > version.seq) return;
      // A copy that was stored makes validation fetch what is new before it is announced (SEMANTICS 9).
      tags.set(key, { version, stored: stored || before?.stored === true });
    },
    learn(events) {
      for (const event of events) {
        if (event.type !== 'ingest-ended') continue;
        if (event.outcome === 'stored' || event.outcome === 'queued') keep(event.repository, event.digest);
        // What could not be read was to be replaced, and that failed: it says so.
        if (event.outcome === 'unstored') kept.delete(event.digest);
      }
    },
    clear() {
      kept.clear();
      tags.clear();
    },
  };
}
