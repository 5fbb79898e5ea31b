/** Spreads what is passed on to many readers over turns of the event loop: see {@link createTurns}. */
export interface Turns {
  /**
   * Counts bytes that are about to be passed on; where this turn has had its share, they wait for one of the next.
   *
   * @param begun called when what waited has waited long enough
   */
  take(bytes: number, begun?: () => void): Promise<void> | undefined;
}

/** Under a millisecond's work: a copy into the kernel. */
const bytesPerTurn = 1024 * 1024;

/**
 * Shares out turns of the event loop. To pass a piece on to each of fifty readers takes one turn many milliseconds, and
 * libuv accepts one connection a turn: without this the last of fifty clients waits for its first byte until the others
 * have had half of theirs, and so does whatever else the host does.
 */
export function createTurns(): Turns {
  const waiting: { bytes: number; go: () => void; begun: (() => void) | undefined }[] = [];
  let left = bytesPerTurn;
  let isNextPlanned = false;

  function plan(): void {
    if (isNextPlanned) return;
    isNextPlanned = true;
    setImmediate(begin);
  }

  function begin(): void {
    isNextPlanned = false;
    left = bytesPerTurn;
    while (left > 0) {
      const first = waiting.shift();
      if (!first) return;
      left -= first.bytes;
      first.begun?.();
      first.go();
    }
    plan();
  }

  return {
    take(bytes, begun) {
      if (left > 0 && waiting.length === 0) {
        left -= bytes;
        plan();
        return undefined;
      }
      plan();
      return new Promise((resolve) => waiting.push({ bytes, go: resolve, begun }));
    },
  };
}
