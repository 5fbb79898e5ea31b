import { prefixOf, textOf } from '../catalog/keys.ts';
import { listAll } from '../catalog/tag-records.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { turn } from '../runtime/turn.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { markOf } from './graph.ts';

/** How many bytes are stored, in all and of some upstreams: counted once, and then as things come and go. */
export interface StoredBytes {
  /** Of all that is stored, or of what an upstream's repositories hold; `undefined`: not counted yet. */
  bytes(upstream?: string): number | undefined;
  /** Whether an upstream is counted apart, from the next count on. */
  watch(upstream: string, isWatched: boolean): void;
  has(digest: Digest): boolean;
  stored(digest: Digest, size: number): void;
  removed(digest: Digest): void;
  /** A repository of an upstream proved to hold it. */
  linked(upstream: string, digest: Digest): void;
  /** Counts anew what the stores list; what comes and goes meanwhile counts too. @throws what the stores throw */
  count(signal: AbortSignal): Promise<void>;
  /** Counts anew what an upstream's repositories hold. @throws what the store throws */
  countOf(upstream: string, signal: AbortSignal): Promise<void>;
}

const listedPerTurn = 1_024;

/** The content of an upstream's repositories. */
interface Holding {
  marks: Set<number>;
  bytes: number;
  isCounted: boolean;
  /** What is linked while somebody counts. */
  news: Set<Set<number>>;
}

/**
 * Some 60 bytes of memory for each blob.
 *
 * @param upstreams those that are counted apart
 */
export function createStoredBytes(
  { blobs, metadata }: { blobs: Pick<BlobStore, 'digests'>; metadata: MetadataStore },
  upstreams: readonly string[],
): StoredBytes {
  let sizes = new Map<number, number>();
  let total = 0;
  let isCounted = false;
  const holdings = new Map<string, Holding>(upstreams.map((key) => [key, emptyHolding()]));
  /** Before the first count nothing is remembered: there may never be one. */
  let isOn = false;
  /** What came and went while somebody counts. */
  const news = new Set<Map<number, number>>();

  function set(mark: number, size: number): void {
    if (!isOn) return;
    const before = sizes.get(mark) ?? 0;
    if (size === 0) sizes.delete(mark);
    else sizes.set(mark, size);
    total += size - before;
    for (const holding of holdings.values()) if (holding.marks.has(mark)) holding.bytes += size - before;
    for (const changes of news) changes.set(mark, size);
  }

  function link(holding: Holding, mark: number): void {
    for (const linked of holding.news) linked.add(mark);
    if (holding.marks.has(mark)) return;
    holding.marks.add(mark);
    holding.bytes += sizes.get(mark) ?? 0;
  }

  async function countOf(upstream: string, signal: AbortSignal): Promise<void> {
    const holding = holdings.get(upstream);
    if (!holding) return;
    const marks = new Set<number>();
    // What is linked meanwhile may stand before where the listing is.
    holding.news.add(marks);
    try {
      for await (const key of listAll(metadata, prefixOf('link', upstream), signal)) {
        const digest = digestOfLink(key);
        if (digest) marks.add(markOf(digest));
      }
    } finally {
      holding.news.delete(marks);
    }
    holding.marks = marks;
    holding.bytes = 0;
    for (const mark of marks) holding.bytes += sizes.get(mark) ?? 0;
    holding.isCounted = true;
  }

  return {
    bytes(upstream) {
      if (!isCounted || upstream === undefined) return isCounted ? total : undefined;
      const holding = holdings.get(upstream);
      return holding?.isCounted ? holding.bytes : undefined;
    },
    watch(upstream, isWatched) {
      if (!isWatched) holdings.delete(upstream);
      else if (!holdings.has(upstream)) holdings.set(upstream, emptyHolding());
    },
    has: (digest) => sizes.has(markOf(digest)),
    stored: (digest, size) => set(markOf(digest), size),
    removed: (digest) => set(markOf(digest), 0),
    linked(upstream, digest) {
      const holding = holdings.get(upstream);
      if (holding) link(holding, markOf(digest));
    },
    async count(signal) {
      isOn = true;
      const changes = new Map<number, number>();
      news.add(changes);
      try {
        const fresh = new Map<number, number>();
        for await (const { digest, size } of blobs.digests({ signal })) {
          if (fresh.set(markOf(digest), size).size % listedPerTurn === 0) await turn();
        }
        for (const [mark, size] of changes) {
          if (size === 0) fresh.delete(mark);
          else fresh.set(mark, size);
        }
        sizes = fresh;
        total = 0;
        for (const size of sizes.values()) total += size;
      } finally {
        news.delete(changes);
      }
      for (const upstream of holdings.keys()) await countOf(upstream, signal);
      isCounted = true;
    },
    countOf,
  };
}

const emptyHolding = (): Holding => ({ marks: new Set(), bytes: 0, isCounted: false, news: new Set() });

function digestOfLink(key: string): Digest | undefined {
  const name = textOf(key.slice(key.lastIndexOf('/') + 1));
  const digest = name?.slice(name.indexOf('.') + 1);
  return digest !== undefined && isDigest(digest) ? digest : undefined;
}
