import type { Clock } from '../runtime/clock.ts';

/** Resolves after `ms`; rejects with the reason of whichever signal fires before. */
export function pause(
  ms: number,
  { clock, signal, closing }: { clock: Clock; signal: AbortSignal; closing: AbortSignal },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (act: () => void) => {
      cancelTimer();
      signal.removeEventListener('abort', onAbort);
      closing.removeEventListener('abort', onClosing);
      act();
    };
    const onAbort = () => end(() => reject(signal.reason));
    const onClosing = () => end(() => reject(closing.reason));
    const cancelTimer = clock.after(ms, () => end(resolve));
    signal.addEventListener('abort', onAbort, { once: true });
    closing.addEventListener('abort', onClosing, { once: true });
    if (signal.aborted) onAbort();
    else if (closing.aborted) onClosing();
  });
}
