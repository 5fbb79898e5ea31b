import { type Clock, holdProcess } from './clock.ts';

/** One of those who share a {@link Throttle}. */
export interface ThrottleShare {
  /** Bytes came. @returns whether more may come now; else only when it is told to go on */
  took(bytes: number): boolean;
  /** Gives back what it may still have, and owes no longer. */
  leave(): void;
}

/** A bound of the bytes that come in a second, for all who share it. */
export interface Throttle {
  /** How many bytes are best taken at a time: with more the bound is kept, too, but in larger steps. */
  readonly step: number;
  /** One more share; `goOn` is called when more may come, after it was said that none may. */
  join(goOn: () => void): ThrottleShare;
  /** One whose bytes count, and that waits for nobody. */
  counted(): ThrottleShare;
}

/** For how long what nobody took may be caught up with: at rest, or while the host had no time. */
const burstMs = 400;
const stepMs = 20;
const mostStep = 256 * 1024;
/** As much of what may come pays for what did not wait: where that is more than the rate, those that wait get the rest. */
const mostOfGain = 0.5;
/** What was owed beyond that is forgotten. */
const mostOwedMs = 10_000;
// Reads of fewer bytes cost more than the evenness is worth.
const leastStep = 2 * 1024;

/**
 * Makes a token bucket. Whoever took more than he had waits his turn until that is made good, and then gets one step: so
 * nobody starves, and in any 10 seconds no more comes than the rate allows, but for `burstMs` of it and a step of each. What
 * waits for nobody (lists, manifests, what is over with its first bytes) leaves half of the rate to those that wait.
 */
export function createThrottle({ bytesPerSecond, clock }: { bytesPerSecond: number; clock: Clock }): Throttle {
  const perMs = bytesPerSecond / 1000;
  const most = perMs * burstMs;
  const step = Math.min(Math.max(Math.round(perMs * stepMs), leastStep), mostStep);
  const waiting = new Set<() => void>();
  let balance = most;
  // What came without waiting while there was nothing left for it.
  let owed = 0;
  let at = clock.monotonic();
  let cancelTimer: (() => void) | undefined;
  let letGo: (() => void) | undefined;

  function refill(): void {
    const now = clock.monotonic();
    const gained = (now - at) * perMs;
    const paid = Math.min(owed, gained * mostOfGain);
    owed -= paid;
    balance = Math.min(balance + gained - paid, most);
    at = now;
  }

  function owe(bytes: number): void {
    const had = Math.min(Math.max(balance, 0), bytes);
    balance -= had;
    owed = Math.min(owed + bytes - had, perMs * mostOwedMs);
  }

  function schedule(): void {
    if (waiting.size === 0) {
      cancelTimer?.();
      cancelTimer = undefined;
      letGo?.();
      letGo = undefined;
      return;
    }
    // Sockets that are not read keep no process, nor do the timers of the clock.
    letGo ??= holdProcess();
    cancelTimer ??= clock.after(Math.max(-balance / perMs, 1), () => {
      cancelTimer = undefined;
      refill();
      for (const grant of waiting) {
        if (balance <= 0) break;
        waiting.delete(grant);
        grant();
      }
      schedule();
    });
  }

  function join(goOn: () => void): ThrottleShare {
    let credit = 0;
    let isGone = false;

    function take(): void {
      balance -= step - credit;
      credit = step;
    }

    const grant = () => {
      take();
      goOn();
    };

    return {
      took(bytes) {
        credit -= bytes;
        if (credit > 0 || isGone) return true;
        refill();
        if (waiting.size === 0 && balance > 0) {
          take();
          return true;
        }
        waiting.add(grant);
        schedule();
        return false;
      },
      leave() {
        if (isGone) return;
        isGone = true;
        if (credit < 0) owe(-credit);
        else balance += credit;
        if (waiting.delete(grant)) schedule();
      },
    };
  }

  return {
    step,
    join,
    counted: () => ({
      took(bytes) {
        refill();
        owe(bytes);
        return true;
      },
      leave: () => undefined,
    }),
  };
}
