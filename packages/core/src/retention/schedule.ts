import { keyOf } from '../catalog/keys.ts';
import { encodeRecord } from '../catalog/record-codec.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Duration, parseDuration } from '../runtime/duration.ts';
import { type ReadRecordsParts, readRecords } from './read-records.ts';

/** Whoever has just started has other things to do. */
const firstAfterMs = 15 * 60_000;

const lastKey = keyOf('sweep', 'last');

/** Sweeps now and then. Each time is up to a fifth sooner or later: many caches must not do so together. */
export function createSchedule({
  metadata,
  observe,
  clock,
  every,
  sweep,
  sweptElsewhere,
}: ReadRecordsParts & {
  clock: Clock;
  /** `false`: never. */
  every: Duration | false;
  sweep(): Promise<{ elsewhere: boolean }>;
  /** Called in place of it where another process has just done so. */
  sweptElsewhere(): void;
}): { close(): void } {
  const everyMs = every === false ? Number.POSITIVE_INFINITY : parseDuration(every);
  const closing = new AbortController();
  const { signal } = closing;
  let stopTimer: (() => void) | undefined;

  function wait(ms: number): void {
    if (signal.aborted || ms === Number.POSITIVE_INFINITY) return;
    stopTimer = clock.after(ms * (0.8 + Math.random() * 0.4), () => {
      void sweepOnce().finally(() => wait(everyMs));
    });
  }

  /** Of several processes that share their records each would read all of them. Never rejects. */
  async function sweepOnce(): Promise<void> {
    try {
      const [record] = await readRecords<{ at: number }>({ metadata, observe }, [lastKey], signal);
      const at = typeof record === 'object' ? record.at : Number.NEGATIVE_INFINITY;
      const now = clock.now();
      // An instant in the future is of a clock that was wrong.
      if (at <= now && now - at < everyMs / 2) return sweptElsewhere();
      const { elsewhere } = await sweep();
      if (!elsewhere) await metadata.set(lastKey, encodeRecord({ at: now }), { signal });
    } catch {
      // It was told; the next time is soon enough.
    }
  }

  if (every !== false) wait(Math.min(everyMs, firstAfterMs));
  return {
    close() {
      closing.abort();
      stopTimer?.();
    },
  };
}
