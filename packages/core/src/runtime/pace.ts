import type { Pace } from './buffers.ts';
import type { Clock } from './clock.ts';

/** Measures how fast a consumer takes the chunks that it is given. */
export interface PaceMeter {
  /** Called when a chunk is handed to the consumer. */
  given(bytes: number): void;
  /** Called when the consumer wants the next one. */
  asked(): void;
  /** By the last chunk; quick until there was one. */
  current(): Pace;
}

/** 64 MiB/s: below half a Gbit/s a reader loses nothing by waiting for each of its reads. */
const quickBytesPerMs = 64 * 1024;

export function createPaceMeter(clock: Pick<Clock, 'monotonic'>): PaceMeter {
  let pace: Pace = 'quick';
  let last: { bytes: number; at: number } | undefined;

  return {
    given(bytes) {
      last = { bytes, at: clock.monotonic() };
    },
    asked() {
      if (last) pace = last.bytes >= (clock.monotonic() - last.at) * quickBytesPerMs ? 'quick' : 'slow';
      last = undefined;
    },
    current: () => pace,
  };
}
