import { ProxyCacheError } from '@proxycache/core';
import { countdown } from './deadline.ts';
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
   * @throws ProxyCacheError `storage-failed` when S3 fails, refuses or does not answer in time; `closed` after `end`
   */
  run<T>(call: S3Call, work: (given: CallWork) => Promise<T>): Promise<T>;
  /** Takes no more calls. */
  end(): void;
}

export function createCalls({ bucket, clock, answerWithinMs }: S3Settings): Calls {
  let isEnded = false;
  return {
    async run({ operation, key, signal, withinMs = answerWithinMs }, work) {
      signal.throwIfAborted();
      if (isEnded) throw new ProxyCacheError('closed', 'these blobs in S3 were closed');
      // One for each call: what was made to listen on it goes with it.
      const controller = new AbortController();
      return await new Promise((resolve, reject) => {
        const giveUp = (reason: unknown) => {
          finish();
          reject(reason);
          // Also what answers too late has nobody left.
          controller.abort(reason);
        };
        const timer = countdown(clock, withinMs, () => {
          const what = key === undefined ? operation : `${operation} of ${key}`;
          const message = `S3 (bucket ${bucket}) did not answer ${what} within ${withinMs} ms`;
          giveUp(new ProxyCacheError('storage-failed', message));
        });
        const leave = () => giveUp(signal.reason);
        const finish = () => {
          timer.stop();
          signal.removeEventListener('abort', leave);
        };
        signal.addEventListener('abort', leave, { once: true });
        work({ abortSignal: controller.signal, headway: timer.again })
          .finally(finish)
          .then(resolve, (error) => reject(s3Failure({ bucket, operation, key }, error)));
      });
    },
    end() {
      isEnded = true;
    },
  };
}
