import { abortable } from '../runtime/collapse.ts';
import { turn } from '../runtime/turn.ts';
import { keyOf, prefixOf } from './keys.ts';
import type { Place } from './place.ts';
import { createRecords, type Records, type RecordsParts } from './records.ts';
import { listAll } from './tag-records.ts';

/** A repository that something was stored of. */
export interface KnownRepository {
  upstream: string;
  repository: string;
}

/** The repositories that something was stored of. */
export interface Repositories {
  /** Notes that something of it is stored. Never rejects. */
  note(place: Place): Promise<void>;
  /** All of an upstream, in the order of their names. Not on a pull's path. */
  list(upstream: string, signal: AbortSignal): Promise<KnownRepository[]>;
  /** By the key in the store. See {@link Records.remove}. */
  remove: Records<KnownRepository>['remove'];
  /** By the beginnings of keys. See {@link Records.forget}. */
  forget: Records<KnownRepository>['forget'];
  settled(): Promise<void>;
}

/** @param most how many are remembered as noted already */
export function createRepositories(parts: RecordsParts, most: number): Repositories {
  const records = createRecords<KnownRepository>(parts, most);
  const noting = new Set<Promise<void>>();
  return {
    async note({ upstream, repository }) {
      // Whoever waits for what it holds comes first.
      const noted = turn().then(() =>
        records.update(keyOf('repository', upstream, repository), (known) =>
          known ? undefined : { upstream, repository },
        ),
      );
      noting.add(noted);
      await noted;
      noting.delete(noted);
    },
    async list(upstream, signal) {
      // What was pulled a moment ago is in it.
      await abortable(Promise.all(noting), signal);
      const found: KnownRepository[] = [];
      for await (const key of listAll(parts.metadata, prefixOf('repository', upstream), signal)) {
        const record = await records.get(key, signal);
        if (record) found.push(record);
      }
      return found.sort((a, b) => (a.repository < b.repository ? -1 : 1));
    },
    remove: records.remove,
    forget: records.forget,
    async settled() {
      await Promise.all(noting);
      await records.settled();
    },
  };
}
