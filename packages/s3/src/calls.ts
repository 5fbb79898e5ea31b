import { afterRunning, ProxyCacheError } from '@proxycache/core';
import { s3Failure } from './s3-failure.ts';
import type { S3Settings } from './settings.ts';

/** A question to S3. */
export interface S3Call {
  /** Its name in S3's API, such as `GetObject`. */
  operation: string;
  key?: string;
  signal: AbortSignal;
  /** How long it may take; `headway` begins that anew. Default: `answerWithin`. */
  withinMs?: number;
  /** Whether S3 is left alone for a while when it keeps being silent, and is then. Default true. */
  rests?: boolean;
}

/** What the work of a call is given. */
export interface CallWork {
  /** Fires when nobody waits for it any more. */
  abortSignal: AbortSignal;
  /** Says that it gets on. */
  headway(): void;
}

/** Questions to one bucket. */
export interface Calls {
  /**
   * The work's outcome. Rejects with the signal's reason soon after the signal fires.
   *
   * @throws ProxyCacheError `storage-failed` when S3 fails, refuses or does not answer in time, and at once while it is
   *   left alone; `closed` after `end`
   */
  run<T>(call: S3Call, work: (given: CallWork) => Promise<T>): Promise<T>;
  /** Takes no more calls. */
  end(): void;
}

/** How long an S3 that keeps being silent is left alone; then one caller finds out whether it is back. */
const restMs = 10_000;

/** How many calls in a row get no answer before that. A single one may have been this host's or the network's doing. */
const missesToRest = 3;

export function createCalls({ bucket, clock, answerWithinMs }: S3Settings): Calls {
  let isEnded = false;
  let misses = 0;
  let restsUntil = Number.NEGATIVE_INFINITY;

  /** Without this each of many pulls would wait for it. */
  function refuseWhileResting(ms: number): void {
    if (misses < missesToRest) return;
    const now = clock.monotonic();
    if (now < restsUntil) {
      throw new ProxyCacheError('storage-failed', `S3 (bucket ${bucket}) did not answer lately; it is left alone`);
    }
    // The others keep away while this caller tries.
    restsUntil = now + ms;
  }

  function missed(): void {
    misses++;
    if (misses >= missesToRest) restsUntil = clock.monotonic() + restMs;
  }

  return {
    async run({ operation, key, signal, withinMs = answerWithinMs, rests = true }, work) {
      signal.throwIfAborted();
      if (isEnded) throw new ProxyCacheError('closed', 'these blobs in S3 were closed');
      if (rests) refuseWhileResting(withinMs);
      // One for each call: what was made to listen on it goes with it.
      const controller = new AbortController();
      return await new Promise((resolve, reject) => {
        const giveUp = (reason: unknown) => {
          finish();
          reject(reason);
          // Also what answers too late has nobody left.
          controller.abort(reason);
        };
        const late = () => {
          const what = key === undefined ? operation : `${operation} of ${key}`;
          const message = `S3 (bucket ${bucket}) did not answer ${what} within ${withinMs} ms`;
          if (rests) missed();
          giveUp(new ProxyCacheError('storage-failed', message));
        };
        let isOver = false;
        let cancel = afterRunning(clock, withinMs, late);
        const headway = () => {
          if (isOver) return;
          cancel();
          cancel = afterRunning(clock, withinMs, late);
        };
        const leave = () => giveUp(signal.reason);
        const finish = () => {
          isOver = true;
          cancel();
          signal.removeEventListener('abort', leave);
        };
        signal.addEventListener('abort', leave, { once: true });
        work({ abortSignal: controller.signal, headway })
          .finally(() => {
            // A refusal is an answer, too.
            if (!controller.signal.aborted) misses = 0;
            finish();
          })
          .then(resolve, (error) => reject(s3Failure({ bucket, operation, key }, error)));
      });
    },
    end() {
      isEnded = true;
    },
  };
}
