import type { Link } from '../catalog/links.ts';
import type { TagRecord } from '../catalog/tag-records.ts';
import type { FreshnessRecord, SeenRecord } from '../freshness/record.ts';
import { settle } from '../freshness/settle.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Digest } from '../oci/digest.ts';
import { storedElsewhere } from './file-manifest.ts';
import type { PullParts } from './pull-parts.ts';
import type { Target } from './target.ts';

/** A tag of a repository. */
export interface TagQuery {
  target: Target;
  tag: string;
  signal: AbortSignal;
}

/** Looks for what {@link tagRecordOf} gives where memory has all of it, now and later. `undefined` says nothing. */
export function lookupTag(
  { tags, links }: Pick<PullParts, 'tags' | 'links'>,
  { target, tag }: Omit<TagQuery, 'signal'>,
): () => TagRecord | undefined {
  const find = tags.lookup(target.place, tag);
  let proof: { digest: Digest; find: () => Link | undefined } | undefined;
  return () => {
    const record = find();
    if (!record?.value || !record.stored || !isSaidTo(target, record)) return undefined;
    const { digest } = record.value;
    if (proof?.digest !== digest) proof = { digest, find: links.lookup(target.place, 'manifest', digest) };
    return proof.find() && record;
  };
}

/** Whether a record tells what was said to this target: under its URL, to its identity. */
export function isSaidTo({ place }: Target, { saidTo = place.generation }: TagRecord): boolean {
  return saidTo === place.generation;
}

/**
 * Whether what a tag stands for may lose to the last image of it that was pulled whole (SEMANTICS 12), though nobody asked
 * for it in vain: there is another one, and the upstream is not known to be up.
 */
export function mayLose(record: TagRecord | undefined, { upstream, place }: Target): boolean {
  const before = record?.lastComplete;
  return before !== undefined && before.digest !== record?.value?.digest && upstream.client.state(place) !== 'closed';
}

/** What is known of a tag, as a target sees it. */
export type SeenTag = TagRecord & SeenRecord<Descriptor>;

/**
 * Processes that share records may have other URLs or credentials. What was said to one of those is what would be served
 * while the upstream fails; it is not fresh here, and no "no".
 */
function ownRecord(record: TagRecord | undefined, target: Target): SeenTag | undefined {
  if (!record || isSaidTo(target, record)) return record;
  const { absent: _absent, denied: _denied, ...known } = record;
  return { ...known, mustValidate: true };
}

/**
 * What is known of a tag, as far as it still counts for its repository. What is stored needs its proof (SEMANTICS 19): a
 * record from under another URL or credential knows a name, no more. One that was seen by HEAD is stored as soon as its
 * manifest is here, which clients that begin with HEAD ask for by its digest (SEMANTICS 8).
 */
export async function tagRecordOf(parts: PullParts, query: TagQuery): Promise<SeenTag | undefined> {
  const { tags } = parts;
  const { target, tag, signal } = query;
  const { record, proven } = await counting(parts, query, await tags.get(target.place, tag, signal));
  if (!record?.value || !proven) return record;
  const bytes = record.stored ? undefined : await storedElsewhere(parts, record.value, signal);
  if (!bytes) return record;
  const { digest, mediaType } = record.value;
  // A HEAD may have told another size.
  const value = { ...record.value, size: bytes.byteLength };
  await tags.update({ place: target.place, tag }, (latest) =>
    latest?.value?.digest === digest && latest.value.mediaType === mediaType
      ? { ...latest, value, stored: true }
      : undefined,
  );
  return ownRecord(await tags.get(target.place, tag, signal), target);
}

/** What of a record counts for its repository, and whether the proof of that holds. */
async function counting(
  { links }: PullParts,
  { target, signal }: TagQuery,
  found: TagRecord | undefined,
): Promise<{ record: SeenTag | undefined; proven?: boolean }> {
  const record = ownRecord(found, target);
  if (!record?.value) return { record };
  const { digest } = record.value;
  if (await links.find(target.place, 'manifest', digest, signal)) return { record, proven: true };
  const { serveUnproven } = target.upstream;
  const expired = serveUnproven && (await links.findExpired(target.place, 'manifest', digest, signal));
  return { record: expired ? { ...record, mustValidate: true } : { ...record, stored: false } };
}

/** The same of the record that the store has while news of it are on their way there. `undefined`: none are, or there was none. */
export function tagRecordBefore(parts: PullParts, query: TagQuery): Promise<SeenTag | undefined> | undefined {
  const before = parts.tags.before(query.target.place, query.tag);
  return before && counting(parts, query, before).then(({ record }) => record);
}

/** The same of the record as the store has it now: another process may have written it. */
export async function latestTagRecordOf(parts: PullParts, query: TagQuery): Promise<SeenTag | undefined> {
  await parts.tags.refresh(query.target.place, query.tag, query.signal);
  return tagRecordOf(parts, query);
}

/** What a tag would be answered with, by the rules, if the upstream failed now. */
export async function storedTag(
  parts: PullParts,
  query: TagQuery,
): Promise<{ value: Descriptor; lastComplete?: Descriptor } | undefined> {
  const record = await tagRecordOf(parts, query);
  const value = servedOnFailure(record, query.target, parts.clock.now());
  return value && { value, ...(record?.lastComplete && { lastComplete: record.lastComplete }) };
}

/** What of a record would be served, by the rules, if the upstream failed now: nothing where it is too old for that. */
export function servedOnFailure<T>(record: FreshnessRecord<T> | undefined, target: Target, now: number): T | undefined {
  const context = { rules: target.upstream.rules, startedAt: now, now };
  const { verdict } = settle(record, { kind: 'failed', error: undefined }, context);
  return verdict.kind === 'serve' ? verdict.value : undefined;
}
