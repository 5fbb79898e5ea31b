import { type Clock, systemClock } from '../runtime/clock.ts';

/** Lets go of memory a moment after it could, for those who are about to read it. */
export interface LateRelease {
  /** Lets go now, where `readers` is 0, or else when they have left, or the moment is over. */
  begin(readers: number): void;
  /** One of them has left. @param readers who are left */
  left(readers: number): void;
}

/** Readers in step need a few ms: this is a busy host's. Memory that slow ones keep is kept from others. */
const longestMs = 250;

/** @param clock Default: the machine's, as clients take their time whatever clock the cache was given */
export function createLateRelease(letGo: () => void, clock: Pick<Clock, 'after'> = systemClock): LateRelease {
  let cancelWait: (() => void) | undefined;

  function end(): void {
    cancelWait?.();
    cancelWait = undefined;
    letGo();
  }

  return {
    begin(readers) {
      if (readers === 0) letGo();
      else cancelWait = clock.after(longestMs, end);
    },
    left(readers) {
      if (readers === 0 && cancelWait) end();
    },
  };
}
