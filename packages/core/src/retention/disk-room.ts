import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { orLate } from '../runtime/or-late.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { Evict } from './evict.ts';
import type { EvictionTurn } from './eviction-turn.ts';

/** Makes room on a disk that has less than `minFree` left, for whoever asks. */
export interface DiskRoom {
  /** @returns whether some has gone; nothing does where that could not be `least`. @throws the signal's reason */
  free(room: { bytes: number; least: number }, signal: AbortSignal): Promise<boolean>;
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
  /** What could not be had: less might be. */
  let tooMuch = Number.POSITIVE_INFINITY;
  let freeing: Promise<boolean> | undefined;

  const isTooMuch = (least: number) => clock.monotonic() < restsUntil && least >= tooMuch;

  async function free(room: { bytes: number; least: number }): Promise<boolean> {
    let freed = 0;
    try {
      const made = await inTurn(async (waited) => (waited ? undefined : evict({ ...room, signal })), signal);
      // Another process made some: that is worth a look.
      if (made === undefined) return true;
      freed = made;
    } catch (error) {
      if (!signal.aborted) observe(storeFailed('evict', 'all', error));
    }
    if (freed <= 0) [restsUntil, tooMuch] = [clock.monotonic() + restMs, room.least];
    return freed > 0;
  }

  return {
    async free(room, waits) {
      const until = clock.monotonic() + withinMs;
      while (!signal.aborted && !isTooMuch(room.least) && clock.monotonic() < until) {
        const isOwn = freeing === undefined;
        freeing ??= free(room).finally(() => {
          freeing = undefined;
        });
        const ms = until - clock.monotonic();
        const isFreed = await abortable(orLate(freeing, { clock, ms, late: () => false }), waits);
        // What another one could not have may be more than this.
        if (isFreed || isOwn) return isFreed;
      }
      return false;
    },
  };
}
