import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { orLate } from '../runtime/or-late.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { Evict } from './evict.ts';
import type { EvictionTurn } from './eviction-turn.ts';

/** Makes room on a disk that has less than `minFree` left, for whoever asks. */
export interface DiskRoom {
  /** @returns whether some has gone. @throws the signal's reason */
  free(bytes: number, signal: AbortSignal): Promise<boolean>;
}

/** Where nothing could go, or something else fills the disk, the cache must not be emptied for it at every pull. */
const restMs = 5_000;

export function createDiskRoom(parts: {
  evict: Evict;
  inTurn: EvictionTurn;
  withinMs: number;
  clock: Clock;
  signal: AbortSignal;
  observe(event: StoreEvent): void;
}): DiskRoom {
  const { evict, inTurn, withinMs, clock, signal, observe } = parts;
  let restsUntil = Number.NEGATIVE_INFINITY;
  let freeing: Promise<boolean> | undefined;

  async function free(bytes: number): Promise<boolean> {
    let freed = 0;
    try {
      const made = await inTurn(async (waited) => (waited ? undefined : evict({ bytes, signal })), signal);
      // Another process made some: that is worth a look.
      if (made === undefined) return true;
      freed = made;
    } catch (error) {
      if (!signal.aborted) observe(storeFailed('evict', 'all', error));
    }
    if (freed <= 0) restsUntil = clock.monotonic() + restMs;
    return freed > 0;
  }

  return {
    async free(bytes, waits) {
      if (signal.aborted || clock.monotonic() < restsUntil) return false;
      freeing ??= free(bytes).finally(() => {
        freeing = undefined;
      });
      return await abortable(orLate(freeing, { clock, ms: withinMs, late: () => false }), waits);
    },
  };
}
