import type { Clock } from '../runtime/clock.ts';

/** When to try what waits for a store; see {@link createUploadTurns}. */
export interface UploadTurns {
  /** Whether the store failed lately, and nothing is to be tried that can wait. */
  isResting(): boolean;
  /** Something waits, or is to be tried again. */
  look(): void;
  /** Runs what stores something: that it is stored, or could not be, counts, unless the signal fired. */
  storing<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Runs any other call: that the store answers again after it did not is a reason to try. */
  asking<T>(work: () => Promise<T>): Promise<T>;
  /** Begins nothing any more. */
  close(): void;
}

/** Uploads at once of what waited. A pull is served meanwhile, so that nobody waits for them. */
const mostAtOnce = 2;
const firstRestMs = 1_000;
const longestRestMs = 60_000;

/**
 * Decides when the next of what waits is tried. After a failure nothing is, for longer each time, up to a minute, and then
 * one at a time until one is stored. A store that answers again is tried soon, whatever it answers.
 *
 * @param parts.begin begins the next upload, through {@link UploadTurns.storing}; `undefined`: nothing waits
 */
export function createUploadTurns({ clock, begin }: { clock: Clock; begin(): Promise<void> | undefined }): UploadTurns {
  let failures = 0;
  let failedAt = 0;
  let restsUntil = Number.NEGATIVE_INFINITY;
  let failsToAnswer = false;
  let running = 0;
  let isClosed = false;
  let stopTimer: (() => void) | undefined;

  const isResting = () => failures > 0 && clock.monotonic() < restsUntil;

  function look(): void {
    stopTimer?.();
    stopTimer = undefined;
    if (isClosed) return;
    if (isResting()) {
      stopTimer = clock.after(restsUntil - clock.monotonic(), look);
      return;
    }
    while (running < (failures > 0 ? 1 : mostAtOnce)) {
      const upload = begin();
      if (!upload) return;
      running++;
      void upload.then(ended, ended);
    }
  }

  function ended(): void {
    running--;
    look();
  }

  function failed(seen: number): void {
    // Those that began before it was known tell nothing new.
    if (failures !== seen) return;
    failures++;
    failedAt = clock.monotonic();
    const longest = Math.min(firstRestMs * 2 ** (failures - 1), longestRestMs);
    // Many processes that lost one store must not all come back to it at once.
    restsUntil = failedAt + longest * (0.5 + Math.random() / 2);
  }

  function soon(): void {
    restsUntil = Math.min(restsUntil, failedAt + firstRestMs);
    look();
  }

  return {
    isResting,
    look,
    async storing(work, signal) {
      const seen = failures;
      try {
        const stored = await work();
        failures = 0;
        look();
        return stored;
      } catch (error) {
        if (!signal.aborted) failed(seen);
        throw error;
      }
    },
    async asking(work) {
      try {
        const answer = await work();
        if (failsToAnswer) {
          failsToAnswer = false;
          if (failures > 0) soon();
        }
        return answer;
      } catch (error) {
        failsToAnswer = true;
        throw error;
      }
    },
    close() {
      isClosed = true;
      stopTimer?.();
    },
  };
}
