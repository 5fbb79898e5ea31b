import { textOf } from '../catalog/keys.ts';
import type { ContentKind, Link } from '../catalog/links.ts';
import type { ReferrersRecord } from '../catalog/referrer-records.ts';
import { listAll, type TagRecord } from '../catalog/tag-records.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { inTurns } from '../runtime/in-turns.ts';
import { turn } from '../runtime/turn.ts';
import { mapBounded } from '../store/map-bounded.ts';
import { emptyGraph, type Graph, markOf } from './graph.ts';
import { isHeld } from './is-held.ts';
import { type ReadRecord, readRecords, readTogether } from './read-records.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';
import type { Usage } from './usage.ts';
import type { Used } from './use.ts';

/** A link of a repository; `number` is that of its content in the graph. */
export interface FoundLink {
  key: string;
  kind: ContentKind;
  digest: Digest;
  number: number;
  /** Its own last use, as far as it was known. */
  seenAt: number | undefined;
}

/** All that there are records of in a repository. */
export interface FoundRepository {
  graph: Graph;
  /** In the order of the graph's tags. */
  tagKeys: string[];
  /** Their own last uses, as far as they were known. */
  tagsSeenAt: (number | undefined)[];
  links: FoundLink[];
  /** Lists of referrers: when the upstream last told them, and what they are about. */
  referrers: { key: string; usedAt: number; subject: number | undefined }[];
  /** Uses of what there are no records of any more. */
  leftUses: Used[];
}

/** What {@link readRepository} works with. */
export interface ReadParts
  extends Pick<RetentionParts, 'metadata' | 'needs' | 'blobs' | 'isUnderWay' | 'unlinked' | 'clock' | 'observe'> {
  usage: Pick<Usage, 'lastUsed'>;
  /** Since when uses are noted, in ms since the epoch: what is not known to have been used may have been until then. */
  since: number;
}

const manifestsAtOnce = 8;

/** Reads what a repository holds and when that was used. @throws what the metadata store throws; the signal's reason */
export async function readRepository(
  parts: ReadParts,
  stored: StoredRepository,
  signal: AbortSignal,
): Promise<FoundRepository> {
  const { metadata, usage, needs, since } = parts;
  const { upstream, scope, path } = stored;
  // A hash in place of the name makes the same keys.
  const repository = stored.repository ?? path.split('/')[2] ?? '';
  const graph = emptyGraph();
  const found: FoundRepository = { graph, tagKeys: [], tagsSeenAt: [], links: [], referrers: [], leftUses: [] };
  const { usedAt } = graph;
  const used = (kind: Used['kind'], tagOrDigest: string): Used => ({
    place: { upstream, scope, repository },
    kind,
    tagOrDigest,
  });
  const numberOf = (digest: Digest) => graph.numberOf(markOf(digest));
  const raise = (number: number, at: number) => {
    usedAt[number] = Math.max(usedAt[number] as number, at);
  };

  /** The records of one kind, a page at a time, with the last segments of their keys. */
  async function* pages(kind: string): AsyncGenerator<{ key: string; name: string }[], void, undefined> {
    const prefix = `${kind}/${path}`;
    let page: { key: string; name: string }[] = [];
    for await (const key of listAll(metadata, prefix, signal)) {
      const name = textOf(key.slice(prefix.length));
      if (name !== undefined) page.push({ key, name });
      if (page.length < readTogether) continue;
      yield page;
      page = [];
      await turn();
    }
    if (page.length > 0) yield page;
  }

  async function readLinks(): Promise<void> {
    for await (const page of pages('link')) {
      const links = page.flatMap(({ key, name }) => linkOf(key, name) ?? []);
      const at = await usage.lastUsed(
        links.map(({ kind, digest }) => used(kind, digest)),
        signal,
      );
      const unknown = links.filter((_, index) => at[index] === undefined);
      const records = await readRecords<Link>(
        parts,
        unknown.map(({ key }) => key),
        signal,
      );
      const proven = new Map(unknown.map(({ key }, index) => [key, records[index]] as const));
      for (const [index, link] of links.entries()) {
        const number = numberOf(link.digest);
        found.links.push({ ...link, number, seenAt: at[index] });
        raise(number, at[index] ?? provenAt(proven.get(link.key), since));
        // Its use was noted when that began, or is not yet.
        if (isHeld(parts, link.digest)) raise(number, parts.clock.now());
      }
    }
  }

  async function readTags(): Promise<void> {
    for await (const page of pages('tag')) {
      const asked = page.map(({ name }) => used('tag', name));
      const keys = page.map(({ key }) => key);
      const [at, records] = await Promise.all([
        usage.lastUsed(asked, signal),
        readRecords<TagRecord>(parts, keys, signal),
      ]);
      for (const [index, { key, name: tag }] of page.entries()) {
        const record = records[index];
        if (record === undefined) continue;
        if (record === 'unreadable') {
          graph.isPartial = true;
          continue;
        }
        if (record === 'lost') graph.lostTags.add(graph.tags.length);
        const { value, lastComplete, validatedAt }: Partial<TagRecord> = record === 'lost' ? {} : record;
        const holds = [value, lastComplete].flatMap((one) => (one ? [numberOf(one.digest)] : []));
        // Of a tag without an image the upstream has said "no" to whoever wanted it.
        const fallback = Math.max(validatedAt ?? Number.NEGATIVE_INFINITY, since);
        graph.tags.push({ tag, usedAt: at[index] ?? fallback, holds: value ? holds : [] });
        found.tagKeys.push(key);
        found.tagsSeenAt.push(at[index]);
      }
    }
  }

  async function readManifests(): Promise<void> {
    const manifests = found.links.filter(({ kind }) => kind === 'manifest');
    for (let from = 0; from < manifests.length; from += readTogether) {
      await mapBounded(manifests.slice(from, from + readTogether), manifestsAtOnce, async ({ digest, number }) => {
        const told = await needs.of(digest, signal);
        if (told === 'unread') graph.unread.push(number);
        if (told === undefined || told === 'unread') return;
        graph.needs[number] = [...told.needs].map(graph.numberOf);
        if (told.subject !== undefined) keep(graph.numberOf(told.subject), number);
      });
      await turn();
    }
  }

  function keep(subject: number, number: number): void {
    if (subject !== number) graph.keeps[subject] = [...(graph.keeps[subject] ?? []), number];
  }

  async function readReferrers(): Promise<void> {
    for await (const page of pages('referrers')) {
      const keys = page.map(({ key }) => key);
      const records = await readRecords<ReferrersRecord>(parts, keys, signal);
      for (const [index, { key, name }] of page.entries()) {
        const record = records[index];
        if (record === undefined) continue;
        if (record === 'unreadable') {
          graph.isPartial = true;
          continue;
        }
        const about = name.slice(0, name.lastIndexOf('.'));
        const subject = isDigest(about) ? numberOf(about) : undefined;
        const { value, validatedAt }: Partial<ReferrersRecord> = record === 'lost' ? {} : record;
        const at = Math.max(validatedAt ?? Number.NEGATIVE_INFINITY, since);
        found.referrers.push({ key, usedAt: at, subject });
        for (const { digest } of value?.manifests ?? []) {
          if (subject !== undefined && typeof digest === 'string' && isDigest(digest)) keep(subject, numberOf(digest));
        }
      }
    }
  }

  /** What was used and has no link any more may be on its way back. */
  async function readLeftUses(): Promise<void> {
    const known = new Set<string>();
    await inTurns(graph.tags, ({ tag }) => known.add(`tag.${tag}`));
    await inTurns(found.links, ({ kind, digest }) => known.add(`${kind}.${digest}`));
    for await (const page of pages('use')) {
      const left = page.filter(({ name }) => !known.has(name)).flatMap(({ name }) => useOf(name) ?? []);
      const asked = left.map(({ kind, tagOrDigest }) => used(kind, tagOrDigest));
      found.leftUses.push(...asked);
      const at = await usage.lastUsed(asked, signal);
      for (const [index, { kind, tagOrDigest }] of left.entries()) {
        const usedThen = at[index];
        if (kind === 'tag' || !isDigest(tagOrDigest) || usedThen === undefined) continue;
        // Of a pull that went on while its record went.
        if (!parts.unlinked.has(markOf(tagOrDigest), usedThen)) raise(numberOf(tagOrDigest), usedThen);
      }
    }
  }

  await readLinks();
  await readTags();
  await readManifests();
  await readReferrers();
  await readLeftUses();
  return found;
}

function provenAt(link: ReadRecord<Link>, since: number): number {
  if (link === undefined) return Number.NEGATIVE_INFINITY;
  if (link === 'lost' || link === 'unreadable') return Number.POSITIVE_INFINITY;
  return Math.max(link.provenAt, since);
}

function linkOf(key: string, name: string): Omit<FoundLink, 'number' | 'seenAt'> | undefined {
  const use = useOf(name);
  if (!use || use.kind === 'tag' || !isDigest(use.tagOrDigest)) return undefined;
  return { key, kind: use.kind, digest: use.tagOrDigest };
}

function useOf(name: string): Pick<Used, 'kind' | 'tagOrDigest'> | undefined {
  const [, kind, tagOrDigest] = /^(tag|manifest|blob)\.(.+)$/.exec(name) ?? [];
  if (kind === undefined || tagOrDigest === undefined) return undefined;
  return { kind: kind as Used['kind'], tagOrDigest };
}
