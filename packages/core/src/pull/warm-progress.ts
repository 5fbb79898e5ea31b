import { attempt } from '../runtime/attempt.ts';
import type { Clock } from '../runtime/clock.ts';
import type { KeepRun } from './keep-image.ts';
import type { WarmProgress } from './warm-report.ts';

/** Counts how far a warming has come, and tells of it. */
export interface ProgressWatch {
  begins: KeepRun['begins'];
  /** A reference is done. */
  ended(hasFailed: boolean): void;
  durationMs(): number;
  close(): void;
}

const everyMs = 1_000;

export function watchProgress({
  total,
  clock,
  onProgress,
}: {
  total: number;
  clock: Clock;
  onProgress: ((soFar: WarmProgress) => void) | undefined;
}): ProgressWatch {
  const startedAt = clock.monotonic();
  const references = { total, done: 0, failed: 0 };
  const contents = { known: 0, done: 0 };
  const bytes = { known: 0, done: 0 };
  const coming = new Set<{ received(): number; size: number }>();
  let stop = () => {};

  function tell(): void {
    if (!onProgress) return;
    let done = bytes.done;
    for (const { received, size } of coming) done += Math.min(received(), size);
    const durationMs = clock.monotonic() - startedAt;
    attempt(() =>
      onProgress({
        references: { ...references },
        contents: { ...contents },
        bytes: { known: bytes.known, done },
        durationMs,
      }),
    );
  }

  function watch(): void {
    stop = clock.after(everyMs, () => {
      if (coming.size > 0) tell();
      watch();
    });
  }

  if (onProgress) watch();
  return {
    begins(size) {
      contents.known++;
      bytes.known += size;
      let followed: { received(): number; size: number } | undefined;
      const leave = () => followed && coming.delete(followed);
      return {
        follows(received) {
          // Another transfer brings the same bytes.
          leave();
          followed = { received, size };
          coming.add(followed);
        },
        ends() {
          leave();
          contents.done++;
          bytes.done += size;
          tell();
        },
      };
    },
    ended(hasFailed) {
      references.done++;
      if (hasFailed) references.failed++;
      tell();
    },
    durationMs: () => clock.monotonic() - startedAt,
    close: () => stop(),
  };
}
