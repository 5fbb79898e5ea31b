import type { ContentKind, Link } from '../catalog/links.ts';
import { decodeRecord, isDamaged, isLost, isOtherFormat } from '../catalog/record-codec.ts';
import type { TagRecord } from '../catalog/tag-records.ts';
import { latestInstant } from '../freshness/record.ts';
import { inTurns } from '../runtime/in-turns.ts';
import type { MetadataEntry } from '../store/metadata-store.ts';
import { fewAtOnce } from './few-at-once.ts';
import { isHeld } from './is-held.ts';
import type { FoundLink } from './read-repository.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { Survey } from './survey.ts';
import type { Removal } from './sweep-report.ts';
import type { Used } from './use.ts';

/** What of a repository goes. */
export interface Going {
  tags: { key: string; tag: string; usedAt: number; seenAt: number | undefined }[];
  /** Manifests first, what they need after them. */
  links: (FoundLink & { lastUsedAt: number })[];
  referrers: string[];
}

/** What stands in the place of a record that is to go. */
type Looked = 'gone' | 'changed' | 'stays' | { ifVersion: string | undefined };

/** What may go of a repository by an age. */
export async function goingOf({ found, uses }: Survey, isOld: (usedAt: number) => boolean): Promise<Going> {
  const { graph, links, tagKeys, tagsSeenAt, referrers } = found;
  const last = (number: number | undefined) =>
    number === undefined ? Number.NEGATIVE_INFINITY : (uses.content[number] as number);
  const going: Going = { tags: [], links: [], referrers: [] };
  await inTurns(graph.tags.entries(), ([index, { tag }]) => {
    const usedAt = uses.tags[index] as number;
    if (!isOld(usedAt)) return;
    going.tags.push({ key: tagKeys[index] as string, tag, usedAt, seenAt: tagsSeenAt[index] });
  });
  for (const kind of ['manifest', 'blob'] as const) {
    await inTurns(links, (link) => {
      const lastUsedAt = last(link.number);
      if (link.kind === kind && isOld(lastUsedAt)) going.links.push({ ...link, lastUsedAt });
    });
  }
  await inTurns(referrers, ({ key, usedAt, subject }) => {
    if (isOld(Math.max(usedAt, last(subject)))) going.referrers.push(key);
  });
  return going;
}

/**
 * Removes what goes of a repository, a few records at once: tags, then manifests, then what they need. Whatever is met that was
 * used or written since it was looked at ends it: what is left may be about to be asked for.
 *
 * @param at when the repository was looked at, in ms since the epoch
 * @returns whether all of it is gone
 * @throws what the stores throw; the signal's reason
 */
export async function removeRecords(
  parts: RetentionParts,
  { going, survey, at, signal }: { going: Going; survey: Survey; at: number; signal: AbortSignal },
  removed: (removal: Pick<Removal, 'kind' | 'tagOrDigest' | 'usedAt'>) => void,
): Promise<boolean> {
  const { upstream, scope } = survey.stored;
  const place = { upstream, scope, repository: survey.name };

  const wasUsed = (used: Used, seenAt: number | undefined) => (parts.usage.held(used) ?? never) > (seenAt ?? never);

  /** @returns what it may go by: its version, or none of what is lost; `stays`: nobody here can read it */
  async function lookAgain(key: string, instantOf: (record: never) => number): Promise<Looked> {
    let entry: MetadataEntry | undefined;
    try {
      entry = await parts.metadata.get(key, { signal });
      if (!entry) return 'gone';
      return instantOf(decodeRecord(key, entry.value) as never) > at ? 'changed' : { ifVersion: entry.version };
    } catch (error) {
      if (isLost(error)) return { ifVersion: entry?.version };
      if (isDamaged(error) || isOtherFormat(error)) return 'stays';
      throw error;
    }
  }

  /** @returns whether to go on */
  async function remove(
    kind: 'tags' | 'links' | 'referrers',
    key: string,
    instantOf: (record: never) => number,
  ): Promise<boolean> {
    const looked = await lookAgain(key, instantOf);
    if (looked === 'gone' || looked === 'stays') return true;
    return looked !== 'changed' && (await parts[kind].remove(key, looked.ifVersion, signal));
  }

  async function removeTag({ key, tag, usedAt, seenAt }: Going['tags'][number]): Promise<boolean> {
    const used: Used = { place, kind: 'tag', tagOrDigest: tag };
    if (wasUsed(used, seenAt) || !(await remove('tags', key, latestInstant<TagRecord>))) return false;
    await parts.usage.forget(used, { unlessUsedAfter: at, signal });
    removed({ kind: 'tag', tagOrDigest: tag, usedAt });
    return true;
  }

  async function removeLink({ key, kind, digest, lastUsedAt, seenAt }: Going['links'][number]): Promise<boolean> {
    const used: Used = { place, kind, tagOrDigest: digest };
    if (wasUsed(used, seenAt) || isHeld(parts, digest)) return false;
    parts.unlinked.add(digest);
    if (!(await remove('links', key, (link: Link) => link.provenAt))) return false;
    await parts.usage.forget(used, { unlessUsedAfter: at, signal });
    removed({ kind, tagOrDigest: digest, usedAt: lastUsedAt });
    return true;
  }

  const linksOf = (kind: ContentKind) => going.links.filter((link) => link.kind === kind);
  return (
    (await fewAtOnce(going.tags, removeTag)) &&
    (await fewAtOnce(linksOf('manifest'), removeLink)) &&
    (await fewAtOnce(linksOf('blob'), removeLink)) &&
    (await fewAtOnce(going.referrers, (key) => remove('referrers', key, latestInstant)))
  );
}

const never = Number.NEGATIVE_INFINITY;
