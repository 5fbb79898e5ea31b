import { keyOf } from '../catalog/keys.ts';
import { encodeRecord } from '../catalog/record-codec.ts';
import type { Clock } from '../runtime/clock.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { createStoreDeadline } from '../store/store-deadline.ts';

const markKey = keyOf('purged', 'last');

/** With what a store takes to answer, and to say so, a minute. */
const everyMs = 50_000;
const withinMs = 3_000;

/** Notes in the storage that something was purged. Never rejects: what was purged is gone, whether or not others are told. */
export async function markPurge({ metadata, clock, observe }: MarkParts): Promise<void> {
  // Not the caller's signal: of a purge that was cut off some is gone, too.
  const { signal } = new AbortController();
  try {
    await metadata.set(markKey, encodeRecord({ at: clock.now() }), { signal });
  } catch (error) {
    observe(storeFailed('metadata-set', markKey, error));
  }
}

/** What purges are marked with. */
export interface MarkParts {
  metadata: Pick<MetadataStore, 'set'>;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** Looks for purges of other processes: a message about one may not have come, or have come before a record was read. */
export interface PurgeWatch {
  /** Looks from now on, again and again. */
  begin(): void;
  close(): void;
}

/**
 * @param parts.metadata the store itself: what it does not answer here in time is no reason to leave it alone
 * @param forget called within a minute of each purge, and once for those of before
 */
export function watchPurges(
  { metadata, clock }: { metadata: Pick<MetadataStore, 'get'>; clock: Clock },
  forget: () => void,
): PurgeWatch {
  const deadline = createStoreDeadline(clock, withinMs);
  const closing = new AbortController();
  const { signal } = closing;
  let stopTimer: (() => void) | undefined;
  let seen: string | undefined;

  function wait(): void {
    if (!signal.aborted) stopTimer = clock.after(everyMs, () => void look().finally(wait));
  }

  /** Never rejects. */
  async function look(): Promise<void> {
    try {
      const mark = await deadline.run({ operation: 'get', signal, rests: false }, (given) =>
        metadata.get(markKey, { signal: given.signal }),
      );
      // A store that lost it says nothing of what memory holds.
      if (mark === undefined || mark.version === seen) return;
      seen = mark.version;
      forget();
    } catch {
      // The next time is soon enough.
    }
  }

  return {
    begin: wait,
    close() {
      closing.abort();
      stopTimer?.();
    },
  };
}
