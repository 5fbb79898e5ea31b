import type { FreshnessRecord } from '../freshness/record.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { keyOf, prefixOf, textOf } from './keys.ts';
import type { Place } from './place.ts';
import { provisional } from './provisional-records.ts';
import type { Change, Fence } from './record-changes.ts';
import { createRecords, type Records, type RecordsParts } from './records.ts';

/** What is known of a tag. */
export interface TagRecord extends FreshnessRecord<Descriptor> {
  /** The {@link Place.generation} that the upstream said its last word to. Of records of before: nobody knows. */
  saidTo?: string;
}

/** The records of all tags. */
export interface TagRecords {
  /** Looks for the same in memory, now and later. `undefined` says nothing: {@link get} may find a record. */
  lookup(place: Place, tag: string): () => TagRecord | undefined;
  /** See {@link Records.before}. */
  before(place: Place, tag: string): TagRecord | undefined;
  get(place: Place, tag: string, signal: AbortSignal): Promise<TagRecord | undefined>;
  /** The record as the store has it now: another process may have written it. See {@link Records.refresh}. */
  refresh(place: Place, tag: string, signal: AbortSignal): Promise<TagRecord | undefined>;
  /** See {@link Records.update}. Nothing changes where the place's term is over. */
  update(tag: { place: Place; tag: string; fence?: Fence | undefined }, change: Change<TagRecord>): Promise<void>;
  /** The tags of a repository that there are records of, in order, after `after` where it is given. Not on a pull's path. */
  list(place: Place, options: { after?: string | undefined; signal: AbortSignal }): AsyncIterable<string>;
  /** By the key in the store. See {@link Records.remove}. */
  remove: Records<TagRecord>['remove'];
  /** By the beginnings of keys. See {@link Records.forget}. */
  forget: Records<TagRecord>['forget'];
  settled(): Promise<void>;
}

const tagKey = ({ upstream, scope, repository }: Place, tag: string) => keyOf('tag', upstream, scope, repository, tag);

const tagPattern = /^[\w.-]{1,128}$/;

const pageSize = 500;

/** Whether a record says more of a tag than that it is still right, which a pull need not wait for the disk to know. */
export function isNewsOfTag(before: TagRecord, after: TagRecord): boolean {
  const isNo = ({ absent, denied }: TagRecord) => absent !== undefined || denied !== undefined;
  return before.value?.digest !== after.value?.digest || before.saidTo !== after.saidTo || isNo(before) !== isNo(after);
}

export function createTagRecords(parts: RecordsParts, most: number): TagRecords {
  const all: Records<TagRecord> = createRecords(parts, most, { isNews: isNewsOfTag });
  const records = provisional(all, ({ value }) => value !== undefined);
  return {
    lookup(place, tag) {
      const key = tagKey(place, tag);
      return () => records.held(key);
    },
    before: (place, tag) => records.before(tagKey(place, tag)),
    get: (place, tag, signal) => records.get(tagKey(place, tag), signal),
    refresh: (place, tag, signal) => records.refresh(tagKey(place, tag), signal),
    async update({ place, tag, fence }, change) {
      if (!place.term?.isOver) await records.update(tagKey(place, tag), change, fence);
    },
    async *list(place, { after, signal }) {
      const prefix = prefixOf('tag', place.upstream, place.scope, place.repository);
      // What no tag can be is encoded in a key, and stands elsewhere there than among the tags.
      const from = after !== undefined && tagPattern.test(after) ? tagKey(place, after) : undefined;
      for await (const key of listAll(parts.metadata, prefix, signal, from)) {
        const tag = textOf(key.slice(prefix.length));
        if (tag !== undefined && (after === undefined || tag > after)) yield tag;
      }
    },
    remove: records.remove,
    forget: records.forget,
    settled: all.settled,
  };
}

/** Every key below a prefix, in order, a page at a time; after `from` where it is given. */
export async function* listAll(
  metadata: MetadataStore,
  prefix: string,
  signal: AbortSignal,
  from?: string,
): AsyncGenerator<string, void, undefined> {
  for (let after = from; ; ) {
    const keys = await metadata.list(prefix, { ...(after !== undefined && { after }), limit: pageSize, signal });
    yield* keys;
    after = keys.at(-1);
    if (keys.length < pageSize) return;
  }
}
