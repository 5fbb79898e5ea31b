import type { FreshnessRecord } from '../freshness/record.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { keyOf, prefixOf, textOf } from './keys.ts';
import type { Place } from './place.ts';
import { provisional } from './provisional-records.ts';
import { createRecords, type Records, type RecordsParts } from './records.ts';

/** What is known of a tag. */
export type TagRecord = FreshnessRecord<Descriptor>;

/** The records of all tags. */
export interface TagRecords {
  /** Looks for the same in memory, now and later. `undefined` says nothing: {@link get} may find a record. */
  lookup(place: Place, tag: string): () => TagRecord | undefined;
  get(place: Place, tag: string, signal: AbortSignal): Promise<TagRecord | undefined>;
  update: (
    place: Place,
    tag: string,
    change: (record: TagRecord | undefined) => TagRecord | undefined,
  ) => Promise<void>;
  /** The tags of a repository that there are records of, in order. Not on a pull's path. */
  list(place: Place, signal: AbortSignal): Promise<string[]>;
  settled(): Promise<void>;
}

const tagKey = ({ upstream, scope, repository }: Place, tag: string) => keyOf('tag', upstream, scope, repository, tag);

const pageSize = 500;

export function createTagRecords(parts: RecordsParts, most: number): TagRecords {
  const all: Records<TagRecord> = createRecords(parts, most);
  const records = provisional(all, ({ value }) => value !== undefined);
  return {
    lookup(place, tag) {
      const key = tagKey(place, tag);
      return () => records.held(key);
    },
    get: (place, tag, signal) => records.get(tagKey(place, tag), signal),
    update: (place, tag, change) => records.update(tagKey(place, tag), change),
    async list(place, signal) {
      const tags: string[] = [];
      const prefix = prefixOf('tag', place.upstream, place.scope, place.repository);
      for await (const key of listAll(parts.metadata, prefix, signal)) {
        const tag = textOf(key.slice(prefix.length));
        if (tag !== undefined) tags.push(tag);
      }
      return tags;
    },
    settled: all.settled,
  };
}

/** Every key below a prefix, in order, a page at a time. */
export async function* listAll(
  metadata: MetadataStore,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  let after: string | undefined;
  for (;;) {
    const keys = await metadata.list(prefix, { ...(after !== undefined && { after }), limit: pageSize, signal });
    yield* keys;
    after = keys.at(-1);
    if (keys.length < pageSize) return;
  }
}
