import type { Clock } from '../runtime/clock.ts';

/** How many retries beside the first of each an upstream's requests may cost together: an outage is not multiplied. */
export interface RetryBudget {
  /** Notes a request that was sent: it earns a share of a retry. */
  earn(): void;
  /** Takes one retry; `false`: there is none left. */
  take(): boolean;
}

// What a quiet upstream has: one retry a second, and ten in a row.
const reserve = 10;
const reserveEveryMs = 1_000;
// What a busy one may save up.
const most = 100;

/** Makes the budget of one upstream: `share` retries for each request, and a small reserve that fills up by itself. */
export function createRetryBudget(share: number, clock: Clock): RetryBudget {
  let tokens = reserve;
  let filledAt = clock.monotonic();

  function fill(): void {
    const now = clock.monotonic();
    if (tokens < reserve) tokens = Math.min(reserve, tokens + (now - filledAt) / reserveEveryMs);
    filledAt = now;
  }

  return {
    earn() {
      tokens = Math.min(most, tokens + share);
    },
    take() {
      fill();
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}
