import type { Clock } from './clock.ts';

/** Whether a reader takes bytes about as fast as a disk gives them, or lets its buffers wait. `new`: nobody knows yet. */
export type Pace = 'new' | 'quick' | 'slow';

/** Measures how fast a reader takes the chunks that it is given. */
export interface PaceMeter {
  /** Called when a chunk is handed to the reader. */
  given(bytes: number): void;
  /** Called when the reader wants the next one. */
  asked(): void;
  current(): Pace;
}

/** 32 MiB/s: below a quarter of a Gbit/s a reader loses nothing by waiting for each of its reads. */
const quickMsPerByte = 1 / (32 * 1024);

/**
 * How many bytes the pace is a mean of. A kernel buffers a few MiB for a connection and takes more of them at a time, so
 * that what a slow client is sent is at once gone for several chunks, and then waits for long.
 */
const windowBytes = 4 * 1024 * 1024;

export function createPaceMeter(clock: Pick<Clock, 'monotonic'>): PaceMeter {
  let msPerByte = 0;
  let total = 0;
  let last = { bytes: 0, at: 0 };

  return {
    given(bytes) {
      last = { bytes, at: clock.monotonic() };
    },
    asked() {
      const { bytes, at } = last;
      if (bytes === 0) return;
      last = { bytes: 0, at };
      total += bytes;
      msPerByte += (clock.monotonic() - at - bytes * msPerByte) / windowBytes;
    },
    current() {
      if (msPerByte > quickMsPerByte) return 'slow';
      return total < windowBytes ? 'new' : 'quick';
    },
  };
}
