import { keyOf, prefixOf, textOf } from '../catalog/keys.ts';
import type { KnownRepository } from '../catalog/repositories.ts';
import { listAll } from '../catalog/tag-records.ts';
import { decide } from '../freshness/decide.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { isRepository } from '../oci/name.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { expectWhole, invalidOption } from '../runtime/expect-option.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { createImageExtents, type ImageExtent, type ImageExtents } from './image-extent.ts';
import type { PullParts } from './pull-parts.ts';
import { type SeenTag, tagRecordOf } from './stored-tag.ts';
import { type PullUpstream, type Target, targetOf } from './target.ts';

/** A page of what is stored. */
export interface ContentsPage {
  /** The `next` of the page before. Default: the first page. */
  after?: string;
  /** Entries at most, 1 to 1,000. A page may be shorter, and have a next one. Default 100. */
  limit?: number;
  signal?: AbortSignal;
}

/** A tag, as it would be answered now. */
export interface StoredTag extends Partial<ImageExtent> {
  tag: string;
  /**
   * `fresh`: served without asking; `stale`: here, and validated first; `known`: its digest was told, its manifest is not
   * here; `absent`, `denied`: that was the upstream's last word.
   */
  state: 'fresh' | 'stale' | 'known' | 'absent' | 'denied';
  /** What it stands for, as far as known, whatever its state. */
  digest?: Digest;
  mediaType?: string;
  /** When the upstream last said what it stands for, in ms since the epoch. */
  validatedAt?: number;
  /** Its last use, in ms since the epoch, where it is known. */
  usedAt?: number;
}

/** A manifest that a repository was proven to have. */
export interface StoredManifest extends ImageExtent {
  digest: Digest;
  mediaType: string;
  /** Of the manifest itself, in bytes, where the upstream said it. */
  size?: number;
  /** When the upstream last proved that it has it, in ms since the epoch. */
  provenAt: number;
  usedAt?: number;
}

type InRepository = ContentsPage & { upstream: string; repository: string };

/** What is stored, for those who run the cache. No upstream is asked. */
export interface Contents {
  /** The repositories that something is stored of, by the order of `<key>/<repository>`. */
  repositories(
    query?: ContentsPage & { upstream?: string },
  ): Promise<{ repositories: readonly KnownRepository[]; next?: string }>;
  /** The tags of a repository, as its upstream names it. */
  tags(query: InRepository): Promise<{ tags: readonly StoredTag[]; next?: string }>;
  /** Its manifests, by the order of their digests. */
  manifests(query: InRepository): Promise<{ manifests: readonly StoredManifest[]; next?: string }>;
}

/** What {@link createContents} works with. */
export type ContentsParts = PullParts & {
  metadata: MetadataStore;
  upstreams: ReadonlyMap<string, PullUpstream>;
  isClosed(): boolean;
};

const [usualLimit, mostLimit] = [100, 1_000];
// A page that has looked at so much ends there, and says where to go on.
const mostLooks = 5_000;

export function createContents(parts: ContentsParts): Contents {
  const { upstreams, metadata, usage, links, clock } = parts;

  function open({ after, limit, signal }: ContentsPage): {
    after: string | undefined;
    limit: number;
    signal: AbortSignal;
  } {
    if (parts.isClosed()) throw new ProxyCacheError('closed', 'the cache is closed');
    expectWhole('limit', limit, 1);
    if ((limit ?? 0) > mostLimit) throw invalidOption('limit', `a whole number up to ${mostLimit}`, limit);
    if (after !== undefined && typeof after !== 'string') throw invalidOption('after', 'the next of a page', after);
    return { after, limit: limit ?? usualLimit, signal: signal ?? new AbortController().signal };
  }

  function upstreamOf(key: string): PullUpstream {
    const upstream = upstreams.get(key);
    if (!upstream) throw new ProxyCacheError('name-unknown', `there is no upstream ${JSON.stringify(key)}`);
    return upstream;
  }

  function targetFor({ upstream: key, repository }: InRepository): Target {
    const upstream = upstreamOf(key);
    if (!isRepository(repository)) throw new ProxyCacheError('name-invalid', 'repository: it is no name of one');
    if (!upstream.callerOf) return targetOf(upstream, repository);
    throw new ProxyCacheError('unsupported', `what is stored of ${key} each of its callers sees for itself alone`);
  }

  async function lastUse({ place }: Target, kind: 'tag' | 'manifest', name: string, signal: AbortSignal) {
    const [usedAt] = await usage.lastUsed([{ place, kind, tagOrDigest: name }], signal);
    return usedAt !== undefined && { usedAt };
  }

  /** One page of what a list gives: `next` is the last name that is on it, where there are more. */
  async function pageOf<T>(
    names: AsyncIterable<string>,
    { limit, signal, extents }: { limit: number; signal: AbortSignal; extents: ImageExtents },
    read: (name: string) => Promise<T | undefined>,
  ): Promise<{ entries: T[]; next?: string }> {
    const entries: T[] = [];
    let last: string | undefined;
    try {
      for await (const name of names) {
        if (last !== undefined && (entries.length >= limit || extents.looks() > mostLooks))
          return { entries, next: last };
        const entry = await read(name);
        if (entry) entries.push(entry);
        last = name;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw new ProxyCacheError('storage-failed', 'what is stored cannot be listed now', { cause });
    }
    return { entries };
  }

  async function* manifestsOf({ place }: Target, after: string | undefined, signal: AbortSignal) {
    const { upstream, scope, repository } = place;
    const prefix = prefixOf('link', upstream, scope, repository);
    // Blobs come first in their order.
    const from = keyOf('link', upstream, scope, repository, `manifest.${after ?? ''}`);
    for await (const key of listAll(metadata, prefix, signal, from)) {
      const digest = textOf(key.slice(prefix.length))?.replace(/^manifest\./, '');
      if (digest !== undefined && isDigest(digest)) yield digest;
    }
  }

  return {
    async repositories({ upstream, ...page } = {}) {
      const { after, limit, signal } = open(page);
      const keys = upstream === undefined ? [...upstreams.keys()] : [upstreamOf(upstream).key];
      try {
        const all = (await Promise.all(keys.map((key) => parts.repositories.list(key, signal)))).flat();
        const named = all.map((one) => ({ name: `${one.upstream}/${one.repository}`, one })).sort(byName);
        const rest = after === undefined ? named : named.filter(({ name }) => name > after);
        const next = rest.length > limit ? rest[limit - 1]?.name : undefined;
        return { repositories: rest.slice(0, limit).map(({ one }) => one), ...(next !== undefined && { next }) };
      } catch (cause) {
        signal.throwIfAborted();
        throw new ProxyCacheError('storage-failed', 'the repositories cannot be listed now', { cause });
      }
    },
    async tags(query) {
      const { after, limit, signal } = open(query);
      const target = targetFor(query);
      const extents = createImageExtents(parts, target, signal);
      const names = parts.tags.list(target.place, { after, signal });
      const { entries, next } = await pageOf(names, { limit, signal, extents }, async (tag) => {
        const record = await tagRecordOf(parts, { target, tag, signal });
        if (!record) return undefined;
        const { value, validatedAt } = record;
        const told: StoredTag = {
          tag,
          state: stateOf(record, target, clock.now()),
          ...(value && { digest: value.digest, mediaType: value.mediaType, ...(await extents.of(value.digest)) }),
          ...(validatedAt !== undefined && { validatedAt }),
          ...(await lastUse(target, 'tag', tag, signal)),
        };
        return told;
      });
      return { tags: entries, ...(next !== undefined && { next }) };
    },
    async manifests(query) {
      const { after, limit, signal } = open(query);
      const target = targetFor(query);
      const extents = createImageExtents(parts, target, signal);
      const names = manifestsOf(target, after, signal);
      const { entries, next } = await pageOf(names, { limit, signal, extents }, async (name) => {
        const digest = name as Digest;
        const link = await links.findExpired(target.place, 'manifest', digest, signal);
        if (!link) return undefined;
        const { mediaType, size, provenAt } = link;
        const told: StoredManifest = {
          digest,
          mediaType,
          ...(size !== undefined && { size }),
          provenAt,
          ...(await lastUse(target, 'manifest', digest, signal)),
          ...(await extents.of(digest)),
        };
        return told;
      });
      return { manifests: entries, ...(next !== undefined && { next }) };
    },
  };
}

const byName = (one: { name: string }, other: { name: string }) => (one.name < other.name ? -1 : 1);

function stateOf(record: SeenTag, { upstream }: Target, now: number): StoredTag['state'] {
  if (record.absent) return 'absent';
  if (record.denied) return 'denied';
  if (!record.stored) return 'known';
  const decision = decide(record, upstream.rules, now);
  return decision.kind === 'serve' && decision.stale === undefined ? 'fresh' : 'stale';
}
