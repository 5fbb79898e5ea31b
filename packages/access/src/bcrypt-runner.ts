import { Worker } from 'node:worker_threads';
import type { Clock } from '@proxycache/core';
import { compare } from 'bcryptjs';

/** A password to compare. */
export interface BcryptJob {
  password: string;
  hash: string;
}

/** Compares one password after the other: the next is given when the one before is through. */
export type BcryptRunner = (job: BcryptJob) => Promise<boolean>;

/** What a runner takes. */
export interface RunnerParts {
  clock: Clock;
  /**
   * Called when a thread ended by itself: the host's own thread then does its work, in pieces of 100 ms, and all further work
   * where the thread had not even begun.
   */
  failed(cause: unknown): void;
  /** Where the module is that threads run. Default: ours. */
  entry?: () => URL;
}

/** What a thread says when it takes work. */
export const runnerReady = 'proxycache passwords';

// A bundler may have put another module there, which never answers.
const readyWithinMs = 15_000;

// A thread that nobody needed for that long gives its memory back.
const idleMs = 30_000;

// A thread runs our module and nothing of the host's: no --import, no --inspect-brk, no NODE_OPTIONS.
const ours = {
  name: 'proxycache passwords',
  env: {},
  execArgv: [],
  argv: [],
  resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 8, stackSizeMb: 4 },
};

/** Runs bcrypt in a worker thread, which starts when there is work and keeps the process alive only while it has some. */
export function createBcryptRunner({ clock, failed, entry = ourThread }: RunnerParts): BcryptRunner {
  let worker: Worker | undefined;
  let cancelEnd = () => {};
  let isReady = false;
  let isHopeless = false;

  function begin(): Worker {
    isReady = false;
    const begun = new Worker(entry(), ours);
    const cancelWait = clock.after(readyWithinMs, () => void begun.terminate());
    begun.on('message', (said) => {
      if (said !== runnerReady) return;
      isReady = true;
      cancelWait();
    });
    begun.once('exit', () => {
      cancelWait();
      if (worker === begun) worker = undefined;
    });
    // Without a listener it would be thrown at the host; ask() hears of the exit that follows.
    begun.on('error', () => {});
    return begun;
  }

  function ask(job: BcryptJob): Promise<boolean> {
    worker ??= begin();
    const asked = worker;
    return new Promise((resolve, reject) => {
      let cause: unknown;
      const heard = (said: unknown) => {
        if (typeof said === 'boolean') settle(() => resolve(said));
      };
      const broken = (error: unknown) => {
        cause = error;
      };
      const ended = (code: number) => {
        settle(() => reject(cause ?? new Error(`it ended with exit code ${code}`)));
      };
      const settle = (end: () => void) => {
        asked.off('message', heard).off('error', broken).off('exit', ended).unref();
        end();
      };
      asked.on('message', heard).on('error', broken).on('exit', ended);
      // Like any answer that is waited for, and unlike an idle thread, it keeps the process alive.
      asked.ref();
      asked.postMessage(job);
    });
  }

  function endWhenIdle(): void {
    cancelEnd = clock.after(idleMs, () => {
      void worker?.terminate();
      worker = undefined;
    });
  }

  return async (job) => {
    cancelEnd();
    if (!isHopeless) {
      try {
        return await ask(job);
      } catch (cause) {
        // Permissions, limits, a bundle without our module: the next thread would fare no better than one that never began.
        isHopeless = !isReady;
        failed(cause);
      } finally {
        endWhenIdle();
      }
    }
    return compare(job.password, job.hash);
  };
}

const ourThread = () => new URL('./bcrypt-thread.js', import.meta.url);
