import type { FreshnessRecord } from '../freshness/record.ts';
import type { Digest } from '../oci/digest.ts';
import type { Referrers } from '../upstream/upstream.ts';
import { keyOf } from './keys.ts';
import type { Place } from './place.ts';
import { provisional } from './provisional-records.ts';
import { createRecords, type Records, type RecordsParts } from './records.ts';

/** What is known of a subject's referrers. */
export type ReferrersRecord = FreshnessRecord<Referrers>;

/** The referrers of all subjects, unfiltered. */
export interface ReferrersRecords {
  get(place: Place, subject: Digest, signal: AbortSignal): Promise<ReferrersRecord | undefined>;
  /** Nothing changes where the place's term is over. */
  update(
    place: Place,
    subject: Digest,
    change: (record: ReferrersRecord | undefined) => ReferrersRecord | undefined,
  ): Promise<void>;
  /** By the key in the store. See {@link Records.remove}. */
  remove: Records<ReferrersRecord>['remove'];
  /** By the beginnings of keys. See {@link Records.forget}. */
  forget: Records<ReferrersRecord>['forget'];
  settled(): Promise<void>;
}

/** @param held how many subjects' records stay in memory, and about how many bytes of them */
export function createReferrersRecords(
  parts: RecordsParts,
  held: { most: number; maxBytes: number },
): ReferrersRecords {
  const all = createRecords<ReferrersRecord>(parts, held.most, { maxBytes: held.maxBytes });
  // Registries answer with an empty list for any digest: one that nothing refers to is remembered in memory alone.
  const records = provisional(all, ({ value }) => (value?.manifests.length ?? 0) > 0);
  // A list is its own proof, which holds only under the URL and credential it was given under: they are in its key.
  const key = ({ upstream, scope, repository, generation }: Place, subject: Digest) =>
    keyOf('referrers', upstream, scope, repository, `${subject}.${generation}`);
  return {
    get: (place, subject, signal) => records.get(key(place, subject), signal),
    async update(place, subject, change) {
      if (!place.term?.isOver) await records.update(key(place, subject), change);
    },
    remove: records.remove,
    forget: records.forget,
    settled: all.settled,
  };
}
