import type { Usage } from './usage.ts';

/** Last uses, and whoever waits for the first. */
export interface WatchedUsage {
  usage: Usage;
  /** Calls `then` once, when something is used for the first time in this process. */
  whenUsed(then: () => void): void;
}

export function watchFirstUse(usage: Usage): WatchedUsage {
  let isUsed = false;
  let waiting: (() => void)[] = [];
  return {
    usage: {
      ...usage,
      note(use, now) {
        if (!isUsed) {
          isUsed = true;
          for (const then of waiting) then();
          waiting = [];
        }
        usage.note(use, now);
      },
    },
    whenUsed(then) {
      if (isUsed) then();
      else waiting.push(then);
    },
  };
}
