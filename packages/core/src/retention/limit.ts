import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { createDeferred } from '../runtime/deferred.ts';
import { orLate } from '../runtime/or-late.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';
import type { Evict } from './evict.ts';
import type { EvictionTurn } from './eviction-turn.ts';

/** How much may be stored, in all or of one upstream, and what is on its way. */
export interface Limit {
  /** The upstream's key; `undefined`: it is for all. */
  readonly upstream: string | undefined;
  readonly maxBytes: number;
  /** What a blob may have at most: some room is kept for manifests. */
  readonly mostBytes: number;
  /** What running transfers have claimed. */
  claimed(): number;
  stored(): number | undefined;
  fits(bytes: number, most?: number): boolean;
  take(bytes: number): void;
  /**
   * Lets what was used the longest ago go until so many bytes fit, and some more.
   *
   * @returns whether that is worth another look; `false` where it took too long, or there is nothing that could go
   * @throws the signal's reason
   */
  makeRoom(bytes: number, withinMs: number, signal: AbortSignal): Promise<boolean>;
  /** Something has gone: whoever waits for room may have it. */
  freed(): void;
  /** Lets go what is over it, with nobody who waits. */
  enforce(): void;
}

/** What {@link createLimit} works with. */
export interface LimitParts {
  upstream?: string;
  maxBytes: number;
  /** What is left after some has gone, as a share of `maxBytes`. */
  lowWater: number;
  /** Bytes that are stored; `undefined`: not counted yet. */
  stored(): number | undefined;
  /** Resolves when they are counted. Never rejects. */
  counted(): Promise<void>;
  evict: Evict;
  inTurn: EvictionTurn;
  /** Called before something has to go: counts what other processes brought and removed. Never rejects. */
  recounted(): Promise<void>;
  /** Called after something has gone. */
  evicted(): Promise<void>;
  clock: Clock;
  signal: AbortSignal;
  observe(event: StoreEvent): void;
}

/** What blobs leave for manifests, which are small and many: a hundredth, and no more than this. */
const mostForManifests = 64 * 1024 * 1024;

/** To look at all that is stored is work: where nothing could go, it is not done again at once. */
const restMs = 2_000;

export function createLimit(parts: LimitParts): Limit {
  const { upstream, maxBytes, lowWater, stored, counted, recounted, evict, inTurn, evicted } = parts;
  const { clock, signal, observe } = parts;
  const mostBytes = maxBytes - Math.min(Math.ceil(maxBytes / 100), mostForManifests);
  // Half-way between: so that it is there, as a rule, before somebody waits for it.
  const startsAt = (Math.min(lowWater * maxBytes, mostBytes) + mostBytes) / 2;
  let claimed = 0;
  /** What waits for room. */
  let wanted = 0;
  let restsUntil = Number.NEGATIVE_INFINITY;
  /** Whether somebody waited in vain for the count: nobody else does. */
  let isSlow = false;
  let evicting: Promise<void> | undefined;
  const waiting = new Set<{ bytes: number; wake(): void }>();

  const used = () => (stored() ?? Number.POSITIVE_INFINITY) + claimed;
  const fits = (bytes: number, most = mostBytes) => used() + bytes <= most;

  async function evictAll(): Promise<void> {
    await recounted();
    const bytes = used() - Math.max(Math.min(lowWater * maxBytes, mostBytes - wanted), 0);
    if (!(bytes > 0 && bytes < Number.POSITIVE_INFINITY)) return;
    let freed = 0;
    try {
      freed = await evict({ bytes, ...(upstream !== undefined && { upstream }), signal });
      await evicted();
    } catch (error) {
      if (!signal.aborted) observe(storeFailed('evict', upstream ?? 'all', error));
    }
    if (freed <= 0) restsUntil = clock.monotonic() + restMs;
  }

  function start(): Promise<void> {
    evicting ??= inTurn(evictAll, signal)
      .catch(() => undefined)
      .finally(() => {
        evicting = undefined;
      });
    return evicting;
  }

  /** @returns whether it was in time */
  async function untilCounted(withinMs: number): Promise<boolean> {
    const counting = counted().then(() => {
      const isCounted = stored() !== undefined;
      // Whoever asks again meanwhile would have the store asked again at once.
      if (!isCounted) restsUntil = clock.monotonic() + restMs;
      return isCounted;
    });
    if (isSlow) return false;
    const late = () => {
      isSlow = true;
      return false;
    };
    return await orLate(counting, { clock, ms: withinMs, late });
  }

  function startAbove(most: number): void {
    if (stored() !== undefined && used() > most && clock.monotonic() >= restsUntil && !signal.aborted) void start();
  }

  return {
    upstream,
    maxBytes,
    mostBytes,
    claimed: () => claimed,
    stored,
    fits,
    take(bytes) {
      claimed += bytes;
      if (bytes > 0) startAbove(startsAt);
    },
    async makeRoom(bytes, withinMs, waits) {
      if (clock.monotonic() < restsUntil || signal.aborted) return false;
      if (stored() === undefined) return await abortable(untilCounted(withinMs), waits);
      const room = createDeferred<void>();
      const waiter = { bytes, wake: room.resolve };
      waiting.add(waiter);
      wanted += bytes;
      try {
        const done = Promise.race([start(), room.promise]).then(() => true);
        return await abortable(orLate(done, { clock, ms: withinMs, late: () => false }), waits);
      } finally {
        waiting.delete(waiter);
        wanted -= bytes;
      }
    },
    freed() {
      for (const { bytes, wake } of waiting) if (fits(bytes)) wake();
    },
    enforce: () => startAbove(maxBytes),
  };
}
