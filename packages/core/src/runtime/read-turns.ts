import type { Clock } from './clock.ts';

/** Lets few read at a time, while reads are quick: see {@link createReadTurns}. */
export interface ReadTurns {
  /** Reads when it is its turn, in the order they came. */
  run<T>(read: () => Promise<T>): Promise<T>;
}

/** As many as Node's threads read at a time, unless the host has set it more. */
const mostAtOnce = 4;

/**
 * A read that takes longer waits for a disk or a network, which serve several better at a time than in turn. Less would
 * be a busy machine's doing.
 */
const quickMs = 25;

/**
 * Reads of what the system has in memory are a copy each, and four threads do them: of more that are asked for at a time
 * the rest waits all the same, but each with its buffer, and so many buffers find no room in the processor's caches.
 * Where a read is not quick, none waits for another.
 */
export function createReadTurns(clock: Pick<Clock, 'monotonic' | 'after'>): ReadTurns {
  const waiting: (() => void)[] = [];
  let running = 0;
  let ended = 0;
  let areQuick = true;
  let isWatched = false;
  /** Those that began in an earlier one hang: nobody waits for them any more. */
  let era = 0;

  /** A turn counts from here, so that no newcomer takes it meanwhile. */
  function letOn(): void {
    const next = waiting.shift();
    if (!next) return;
    running++;
    next();
  }

  function letAllOn(): void {
    areQuick = false;
    while (waiting.length > 0) letOn();
  }

  /** Those who wait do so for reads that end. */
  function watch(): void {
    if (isWatched) return;
    isWatched = true;
    const before = ended;
    clock.after(quickMs, () => {
      isWatched = false;
      if (ended === before) {
        era++;
        running = 0;
        letAllOn();
      } else if (waiting.length > 0) watch();
    });
  }

  function end(startedAt: number, startedIn: number): void {
    if (startedIn === era) running--;
    ended++;
    areQuick = clock.monotonic() - startedAt <= quickMs;
    if (!areQuick) letAllOn();
    else if (running < mostAtOnce) letOn();
  }

  return {
    async run(read) {
      if (areQuick && running >= mostAtOnce) {
        watch();
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else running++;
      const startedAt = clock.monotonic();
      const startedIn = era;
      try {
        return await read();
      } finally {
        end(startedAt, startedIn);
      }
    },
  };
}
