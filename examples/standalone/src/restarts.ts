/** How soon workers that ended get successors. */
export interface Restarts {
  readonly longestWaitMs: number;
  /** A worker came up. */
  served(id: number): void;
  /**
   * @param id none: it could not even be started
   * @returns how long to wait before its successor starts; `undefined` when too many in a row never came up
   */
  ended(id: number | undefined): number | undefined;
}

/** Doubled with each that ended soon. */
const firstWaitMs = 100;
const longestWaitMs = 10_000;

/** One that served for so long was sound: its end says nothing of the next one. */
const soundAfterMs = 10_000;

const mostUnborn = 5;

/** @param now ms from any start */
export function createRestarts(now: () => number = () => performance.now()): Restarts {
  const servedSince = new Map<number, number>();
  let early = 0;
  let unborn = 0;
  return {
    longestWaitMs,
    served(id) {
      servedSince.set(id, now());
      unborn = 0;
    },
    ended(id) {
      const since = id === undefined ? undefined : servedSince.get(id);
      if (id !== undefined) servedSince.delete(id);
      if (since === undefined) unborn++;
      const isSound = since !== undefined && now() - since >= soundAfterMs;
      early = isSound ? 0 : early + 1;
      if (unborn >= mostUnborn) return undefined;
      return early === 0 ? 0 : Math.min(firstWaitMs * 2 ** (early - 1), longestWaitMs);
    },
  };
}
