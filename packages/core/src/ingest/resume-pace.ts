import type { Clock } from '../runtime/clock.ts';
import type { UpstreamError } from '../upstream/upstream-error.ts';

/** When a body that broke off is asked for again. */
export interface ResumeTurn {
  /** How often it was asked for since the last byte came, this time included. */
  attempt: number;
  waitMs: number;
  /** `clock.monotonic()` ms by which it must go on. */
  deadlineAt: number;
}

/** How long a transfer may take to go on. */
export interface ResumeLimits {
  /** How long it may bring nothing new, counted from where it broke off, in ms. */
  withinMs: number;
  /** `clock.monotonic()` ms by which its first byte must be here. */
  firstByteAt: number;
  /** Numbers from 0 up to 1. */
  random: () => number;
}

/** Says when, and how often, a transfer that broke off is asked for again. */
export interface ResumePace {
  /**
   * The next turn, after the body or a request for the rest of it failed; `undefined`: it is given up.
   *
   * @param received bytes that have come so far
   */
  next(error: UpstreamError, received: number): ResumeTurn | undefined;
}

const shortestWait = 100;
const longestWait = 5_000;
// An upstream that gives a byte at a time must not be asked for ever; one that cuts at each MiB has its reasons.
const freeResumes = 16;
const bytesPerResume = 1024 * 1024;

/**
 * Asks at once where something came since it was last asked, then after random times below ever longer ones (full
 * jitter), so that many transfers do not come back together. What the upstream said of when to ask is waited for.
 */
export function createResumePace(clock: Clock, { withinMs, firstByteAt, random }: ResumeLimits): ResumePace {
  let resumes = 0;
  let reached: number | undefined;
  let tries = 0;
  let deadlineAt = 0;

  function note(received: number): void {
    if (received === reached) {
      tries++;
      return;
    }
    reached = received;
    resumes++;
    tries = 0;
    const from = clock.monotonic() + withinMs;
    deadlineAt = received === 0 ? Math.min(from, firstByteAt) : from;
  }

  return {
    next(error, received) {
      note(received);
      if (resumes > freeResumes + received / bytesPerResume) return undefined;
      const left = deadlineAt - clock.monotonic();
      // A host that is left alone may be found well at any time, by anybody; asking costs nothing until then.
      const toldAt = error.code === 'unavailable' ? undefined : error.retryAt;
      const told = toldAt === undefined ? 0 : toldAt - clock.now();
      // It would only be refused again, without being asked.
      if (error.code === 'rate-limited' && told >= left) return undefined;
      const jitter = tries === 0 ? 0 : Math.round(random() * Math.min(longestWait, shortestWait * 2 ** (tries - 1)));
      const waitMs = Math.max(jitter, told < left ? told : 0);
      return waitMs < left ? { attempt: tries + 1, waitMs, deadlineAt } : undefined;
    },
  };
}
